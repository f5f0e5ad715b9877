#include <lamina/train/step/gradients/sum.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/on_ranks.hpp"
#include "train/step/gradient_models.hpp"

using namespace lamina;
using namespace lamina::train;
using namespace lamina::testing;

namespace {

constexpr std::size_t small_bucket = 50'000;  // values: some layers share one, some matrices exceed it

/// Keeps all gradients as they are when a bucket is reported.
template <class W>
struct Listener : GradientWatch {
  Listener(W& weights, std::vector<int> run_of)
      : GradientWatch(weights.parameters(), std::move(run_of)), weights(weights) {}
  void ready(int) override { seen.push_back(copied(weights.gradients())); }
  W& weights;
  std::vector<std::vector<float>> seen;
};

}  // namespace

TEST_CASE("gradient_buckets: every learning value once, matrices from the end, vectors last") {
  const auto weights = initialised<Plain3>(1);
  const GradientBuckets buckets = gradient_buckets(weights.slots(), small_bucket);
  REQUIRE(buckets.runs.size() > 4);
  const parallel::Share& vectors = buckets.runs.back();
  CHECK(vectors.end() == weights.learning_count());
  std::size_t end = vectors.first;
  for (std::size_t i = 0; i + 1 < buckets.runs.size(); ++i) {
    CHECK(buckets.runs[i].end() == end);
    CHECK((i + 2 == buckets.runs.size() || buckets.runs[i].count >= small_bucket));
    end = buckets.runs[i].first;
  }
  CHECK(end == 0);
  for (std::size_t i = 0; i < weights.slots().size(); ++i) {
    const TensorSlot& slot = weights.slots()[i];
    const parallel::Share& run = buckets.runs.at(static_cast<std::size_t>(buckets.run_of[i]));
    CHECK((run.first <= slot.offset && slot.offset + static_cast<std::size_t>(slot.spec.count()) <= run.end()));
  }
}

TEMPLATE_TEST_CASE("GradientWatch: a step reports a bucket when its gradients have their last value, most during it",
                   "", Plain3, Fused3, Recomputed3, Frozen3, Fused2_5) {
  for (const bool image : {true, false}) {
    INFO("image " << image);
    auto weights = initialised<TestType>(1);
    const GradientBuckets buckets = gradient_buckets(weights.slots(), small_bucket);
    Listener watch(weights, buckets.run_of);
    Step<TestType> step;
    step.watch = &watch;
    step.accumulate(weights, batch_of<TestType>(image), TestType::vocab_size - 1, 0);
    const auto& seen = watch.seen;
    REQUIRE(seen.size() == buckets.runs.size());
    const std::vector<float> last = copied(weights.gradients());
    std::size_t early = 0;
    for (std::size_t i = 0; i < seen.size(); ++i) {
      const parallel::Share& run = buckets.runs[i];
      std::size_t differ = 0;
      for (std::size_t at = run.first; at < run.end(); ++at) differ += seen[i][at] != last[at];
      CHECK(differ == 0);
      early += seen[i] != last;
    }
    CHECK(2 * early >= seen.size());
  }
}

TEMPLATE_TEST_CASE("GradientSum: sums in buckets are those of one sum, also if one rank's batch has no image", "",
                   Fused3, Fused2_5) {
  for (const int size : {2, 3}) {
    std::vector<int> equal(static_cast<std::size_t>(size));
    on_ranks(size, [&](parallel::Group& group) {
      parallel::DeviceGroup<Cpu> ranks(group);
      auto weights = initialised<TestType>(1);
      GradientSum<Cpu> whole(ranks, weights, false), parts(ranks, weights, true, small_bucket);
      Step<TestType> step;
      const auto sums = [&](GradientSum<Cpu>& sum) {
        Memory<Cpu>::zero({}, weights.gradients().data(), weights.gradients().size_bytes());
        step.watch = sum.watch();
        step.accumulate(weights, batch_of<TestType>(group.first()), TestType::vocab_size - 1, 0);
        sum.run({});
        return copied(weights.gradients());
      };
      const bool watches = !whole.watch() && parts.watch();
      equal[static_cast<std::size_t>(group.rank())] = watches && sums(whole) == sums(parts);
    });
    for (const int e : equal) CHECK(e == 1);
  }
}

TEST_CASE("GradientSum: during backward between hosts alone, and if there is much to sum") {
  constexpr std::size_t adapters = 9'000'000, decoder = 1'720'000'000;
  const parallel::Place one_host{.rank = 0, .size = 2, .local_rank = 0, .local_size = 2};
  const parallel::Place two_hosts{.rank = 0, .size = 16, .local_rank = 0, .local_size = 8};
  CHECK(GradientSum<Cpu>::pays_during_backward(two_hosts, decoder));
  CHECK_FALSE(GradientSum<Cpu>::pays_during_backward(two_hosts, adapters));
  CHECK_FALSE(GradientSum<Cpu>::pays_during_backward(one_host, decoder));
}
