#include <lamina/model/qwen3_vl/model.hpp>

#include <lamina/train/step/optimizer.hpp>

#include "fuse/fused_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
using Everywhere = LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, AllLinears>;
struct Folded : fused_for<Cpu, Everywhere, FusionRules<Cuda>::type> {};
}  // namespace

TEST_CASE("Folded adapters: in fp32, where nothing folds, they run as joint products and change no result") {
  check_fused<Folded>("parity/qwen3_vl_tiny.safetensors");
}

TEST_CASE("Folded adapters: in half precision a group's matrices and adapters are windows of one matrix") {
  const Weights<Folded, bf16> weights([](const TensorSpec&) {
    return Weights<Folded, bf16>::Choice{DType::BF16, 8, true};
  });
  std::byte* const base = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 20);  // nobody touches it
  const auto parameters = weights.parameters_at(base, reinterpret_cast<float*>(base), nullptr);
  const auto window = [&](const std::string& name) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (weights.slots()[i].name() == name) return parameters[i].value;
    FAIL(name);
    return Weight{};
  };
  const std::string attention = "model.language_model.layers.1.self_attn.";
  const Weight q = window(attention + "q_proj.weight"), k = window(attention + "k_proj.weight"),
               a = window(attention + "k_proj.lora_A.weight"), b = window(attention + "k_proj.lora_B.weight");
  constexpr std::ptrdiff_t inputs = 256, stride = inputs + adapter_tail;
  const auto elements_after_q = [&](const Weight& w) {
    return (static_cast<const std::byte*>(w.data) - static_cast<const std::byte*>(q.data)) / 2;
  };
  CHECK(q.stride == stride);
  CHECK(elements_after_q(k) == q.rows * stride);
  CHECK(elements_after_q(a) == (q.rows + 2 * k.rows + 8) * stride);  // below q, k, v and q's A
  CHECK(elements_after_q(b) == q.rows * stride + inputs + 8);        // next to k, after q's B
}

TEST_CASE("Folded adapters: an optimizer step renews every half-precision copy where the model reads it") {
  Weights<Folded, bf16> weights([](const TensorSpec& spec) {
    return Weights<Folded, bf16>::Choice{DType::BF16, 8, spec.added || spec.rank == 1};
  });
  weights.allocate(true);
  for (std::size_t i = 0; i < weights.slots().size(); ++i) weights.parameters()[i].scale = 2;
  train::Optimizer<> optimizer(weights);
  for (std::size_t i = 0; i < weights.learning_count(); ++i) weights.gradients()[i] = i % 7 < 4 ? 1.0f : -1.0f;
  optimizer.step(weights, OptimizerSettings{.learning_rate = 0.5}, 0, {});
  int folded = 0, unequal = 0;
  for (std::size_t i = 0; i < weights.slots().size(); ++i) {
    const TensorSlot& slot = weights.slots()[i];
    if (!slot.learns) continue;
    folded += slot.folded;
    const Weight& copy = weights.parameters()[i].value;
    for (int r = 0; r < copy.rows; ++r)
      for (int c = 0; c < copy.cols; ++c) {
        const float value = weights.values(slot)[static_cast<std::size_t>(r) * copy.cols + c];
        const bf16 want = round_to<bf16>(slot.folds_scaled ? 2 * value : value);
        unequal += static_cast<const bf16*>(copy.data)[r * copy.stride + c].bits != want.bits || value == 0;
      }
  }
  CHECK(folded > 0);
  CHECK(unequal == 0);
}
