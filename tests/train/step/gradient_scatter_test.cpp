#include <lamina/train/step/gradients/scatter.hpp>

#include <lamina/train/step/optimizer.hpp>

#include <cmath>
#include <optional>
#include <vector>

#include "support/catch.hpp"
#include "support/on_ranks.hpp"
#include "train/step/gradient_models.hpp"

using namespace lamina;
using namespace lamina::train;
using namespace lamina::testing;

namespace {

template <class Model, class W>
DividedGradients divided_of(const W& weights, std::size_t own) {
  return divide_gradients(weights.slots(), Step<Model>::gradient_order(weights.parameters()), own);
}

/// What a rank has of the sums of all ranks' gradients, and the optimizer's step with it.
template <class Model>
class DividedRank {
 public:
  explicit DividedRank(parallel::Group& group) : ranks_(group), optimizer_(share_in(group)) {
    weights_.keep(optimizer_.share());
    whole_.allocate(true);
    initialise(whole_, 1);
    const DividedGradients divided = divided_of<Model>(whole_, optimizer_.share().count);
    weights_.place_gradients(divided.place_of, divided.count);
    weights_.allocate(true);
    initialise(weights_, 1);
    optimizer_.allocate(weights_, {});
    scatter_.emplace(ranks_, weights_, divided);
    step_.watch = scatter_->watch();
  }
  /// Whether the sums of this rank's share are those of one sum over all values; the rank's batch is the same each
  /// time.
  bool same_sums() {
    const Batch batch = batch_of<Model>(ranks_.rank() != 1);
    Memory<Cpu>::zero({}, whole_.gradients().data(), whole_.gradients().size_bytes());
    whole_step_.accumulate(whole_, batch, Model::vocab_size - 1, 0);
    ranks_.all_reduce({}, whole_.gradients());
    step_.accumulate(weights_, batch, Model::vocab_size - 1, 0);
    const parallel::Share& own = optimizer_.share();
    return copied(scatter_->run({})) == copied(whole_.gradients().subspan(own.first, own.count));
  }
  /// After same_sums(): how far the weights are from those of an optimizer that has all gradients, and its norm.
  double step() {
    Optimizer<Cpu> all(whole_);
    all.step(whole_, {.learning_rate = 1e-3}, 0.5, {});
    optimizer_.step(weights_, scatter_->run({}), {.learning_rate = 1e-3}, 0.5, ranks_, {});
    optimizer_.exchange(weights_, ranks_, {});
    double worst = std::abs(optimizer_.finish_step({}) / all.finish_step({}) - 1);
    for (std::size_t i = 0; i < whole_.values().size(); ++i)
      worst = std::max<double>(worst, std::abs(whole_.values()[i] - weights_.values()[i]));
    return worst;
  }

 private:
  parallel::Share share_in(parallel::Group& group) const {
    return parallel::share_of(whole_.learning_count(), group.rank(), group.size());
  }
  parallel::DeviceGroup<Cpu> ranks_;
  Weights<Model, float> whole_, weights_;
  Optimizer<Cpu> optimizer_;
  Step<Model> whole_step_, step_;
  std::optional<GradientScatter<Cpu>> scatter_;
};

}  // namespace

TEST_CASE("divide_gradients: every learning tensor has a place, and neighbouring stages have places of their own") {
  const auto weights = initialised<Fused2_5>(1);
  constexpr std::size_t own = 1000;
  const DividedGradients divided = divided_of<Fused2_5>(weights, own);
  REQUIRE(divided.stages.size() > 4);
  std::size_t values = 0;
  for (std::size_t s = 0; s < divided.stages.size(); ++s) {
    const auto& stage = divided.stages[s];
    values += stage.count;
    CHECK((stage.at >= own && stage.at + stage.count <= divided.count));
    const auto apart = [&](const DividedGradients::Stage& other) {
      return stage.at + stage.count <= other.at || other.at + other.count <= stage.at;
    };
    CHECK((s + 1 == divided.stages.size() || (apart(divided.stages[s + 1]) && apart(divided.stages.back()))));
  }
  CHECK(values == weights.learning_count());
  for (std::size_t i = 0; i < weights.slots().size(); ++i) {
    const auto& stage = divided.stages.at(static_cast<std::size_t>(divided.stage_of[i]));
    const auto end = divided.place_of[i] + static_cast<std::size_t>(weights.slots()[i].spec.count());
    CHECK((stage.at <= divided.place_of[i] && end <= stage.at + stage.count));
  }
}

TEST_CASE("divide_gradients: a tied embedding stays until the end, an output head of its own goes first") {
  const auto stage_of = [](const auto& weights, const DividedGradients& divided, std::string_view end) {
    for (std::size_t i = 0; i < weights.slots().size(); ++i)
      if (weights.slots()[i].name().ends_with(end)) return divided.stage_of[i];
    return -1;
  };
  const auto tied = initialised<Fused3>(1);
  const DividedGradients of_tied = divided_of<Fused3>(tied, 0);
  CHECK(stage_of(tied, of_tied, "embed_tokens.weight") + 1 == static_cast<int>(of_tied.stages.size()));
  const auto own_head = initialised<Fused2_5>(1);
  CHECK(stage_of(own_head, divided_of<Fused2_5>(own_head, 0), "lm_head.weight") == 0);
}

TEMPLATE_TEST_CASE(
    "GradientScatter: each rank has its share of the sums, in every step, and its optimizer's norm is that "
    "of all gradients",
    "", Plain3, Fused3, Recomputed3, Frozen3, Fused2_5) {
  for (const int size : {2, 3}) {
    std::vector<int> equal(static_cast<std::size_t>(size));
    std::vector<double> apart(equal.size());
    on_ranks(size, [&](parallel::Group& group) {
      DividedRank<TestType> rank(group);
      const auto at = static_cast<std::size_t>(group.rank());
      const bool first = rank.same_sums(), second = rank.same_sums();
      equal[at] = first && second;
      apart[at] = rank.step();
    });
    for (const int e : equal) CHECK(e == 1);
    for (const double a : apart) CHECK(a < 1e-6);
  }
}
