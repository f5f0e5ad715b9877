#include <lamina/compose/plan/initialise.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen_vl/tags.hpp>
#include <lamina/train/step.hpp>

#include "support/catch.hpp"

namespace auxiliary_test {
using namespace lamina;
using namespace lamina::name;
using namespace lamina::qwen_vl::tags;

/// The mean square of what layers read: sums are its squares, and how many rows were counted.
struct MeanSquare {
  static constexpr int sums = 2;
  static double loss(const float* s) { return s[1] > 0 ? static_cast<double>(s[0]) / static_cast<double>(s[1]) : 0; }
};
/// y = x, with that loss.
template <int D>
struct Calm {
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<>;
  using auxiliary = MeanSquare;
  static constexpr Traits traits{};
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;
  static void forward(auto run, const Parameter*, auto& saved, auto x, auto y) {
    saved.x = x;
    host_kernel(run.stream, "calm_fwd", [&] {
      kernel::store(y, kernel::array_of(x));
      const AuxiliarySums& to = run.context->auxiliary;
      for (int n = 0; to.gathers && n < x.rows; ++n) {
        float* const own = to.sums + std::ptrdiff_t{to.part_of(n)} * to.each;
        own[0] += kernel::array_of(x, n).square().sum(), own[1] += 1;
      }
    });
  }
  static void backward(auto run, const Parameter*, auto& saved, auto dy, auto dx) {
    const AuxiliarySums& from = run.context->auxiliary;
    host_kernel(run.stream, "calm_bwd", [&] {
      for (int n = 0; n < dy.rows; ++n) {
        const float rows = from.sums ? from.sums[std::ptrdiff_t{from.part_of(n)} * from.each + 1] : 1;
        kernel::store(dx, n, kernel::array_of(dy, n) + 2 * from.weight / rows * kernel::array_of(saved.x, n));
      }
    });
  }
};
/// A decoder without attention.
using Layer = Residual<Named<norm, RMSNorm<4>>, Chain<Named<up_proj, Linear<4, 4>>, Calm<4>>>;
using Decoder =
    Chain<Named<embed_tokens, Embedding<7, 4>>, Stack<layers, 2, Recompute<Layer>>, Named<norm, RMSNorm<4>>>;
struct Model : TextOnly<Decoder, TiedHead<embed_tokens>> {};
}  // namespace auxiliary_test

TEST_CASE("auxiliary: a layer of one's own declares a loss, and its gradient matches finite differences") {
  using namespace auxiliary_test;
  auto weights = initialised<Model>(1);
  train::Step<Model> step;
  step.auxiliary = train::auxiliary_of<Model>();
  step.auxiliary.coefficient = 0.5f;
  Batch batch;
  batch.ids = {1, 2, 3, 4, 5, 6, 0}, batch.labels = batch.ids;
  batch.cu_seqlens = {0, 4, 7}, batch.cu_parts = {0, 4, 7};
  batch.loss_weights.assign(7, 0.2f);
  const auto loss = [&] { return step.evaluate(weights, batch, -1); };
  step.accumulate(weights, batch, -1, 0);
  const std::vector<float> gradient(weights.gradients().begin(), weights.gradients().end());
  const BatchLoss all = loss();
  CHECK(all.metrics.back().name == train::AuxiliaryLoss::metric);
  CHECK(all.metrics.back().weight == 2);
  for (const TensorSlot& slot : weights.slots()) {
    INFO(slot.name());
    float* const value = static_cast<float*>(weights.data(slot));
    constexpr float apart = 0x1p-10f;
    const float before = std::exchange(value[1], value[1] + apart);
    const double above = loss().loss;
    value[1] = before - apart;
    const double slope = (above - loss().loss) / (2 * static_cast<double>(apart));
    value[1] = before;
    CHECK(static_cast<double>(gradient[slot.offset + 1]) == Approx(slope).margin(1e-3));
  }
}
