#include <lamina/model/qwen3_moe/model.hpp>

#include "cuda/gpu_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Mixture : fused_for<Cuda, qwen3_moe::Qwen3Moe_Tiny> {};
}  // namespace

TEST_CASE("Qwen3-MoE on a GPU: gradients and ten steps with the loss of the routers are transformers'") {
  const Golden golden("parity/qwen3_moe_tiny.safetensors");
  std::vector<Batch> batches;
  for (const char* s : {"A", "B", "C"}) batches.push_back(golden_batch(golden, s, Mixture::patch_width));
  const auto weights = gpu_weights<Mixture, float>([](std::string_view) { return false; });
  train::Step<Mixture, float, Cuda> step(gpu_device());
  step.auxiliary = train::auxiliary_of<Mixture>();
  step.auxiliary.coefficient = 0.1f;
  step.accumulate(*weights, packed_batch(batches), -1, 0);
  const std::span<float> gradients = weights->gradients();
  std::vector<float> found(gradients.size());
  Memory<Cuda>::download(gpu_device().stream(), found.data(), gradients.data(), gradients.size_bytes());
  for (const TensorSlot& slot : weights->slots())
    if (const std::string name = "aux.grad." + slot.name(); golden.has(name))
      check_gradient(golden.floats(name), {&found[slot.offset], static_cast<std::size_t>(slot.spec.count())}, name);

  Memory<Cuda>::zero(gpu_device().stream(), gradients.data(), gradients.size_bytes());
  train::Optimizer<Cuda> optimizer(*weights, gpu_device().stream());
  const std::vector<float> losses = golden.floats("steps.aux.loss");
  for (int k = 0; k < 10; ++k) {
    const Batch window = packed_batch({batches[2 * k % 3], batches[(2 * k + 1) % 3]});
    const double loss = step.accumulate(*weights, window, -1, 0).loss;
    optimizer.step(*weights, {.learning_rate = 1e-4}, 1, gpu_device().stream(&step.scratch()));
    optimizer.finish_step(gpu_device().stream());
    INFO("step " << k);
    CHECK(std::abs(loss - losses[k]) <= step_tolerance("aux") * losses[k]);
  }
}
