#pragma once
#include <iostream>

#include <lamina/kernel/cuda.hpp>

#include "fuse/fused_run.hpp"

/// The tiny models on a GPU, against the CPU and against transformers' golden values.
namespace lamina::testing {

inline Device<Cuda>& gpu_device() {
  static Device<Cuda> device;
  return device;
}

/// While it lives, runs on gpu_device() repeat bit for bit.
struct Deterministic {
  Deterministic() { gpu_device().gpu().deterministic = true; }
  ~Deterministic() { gpu_device().gpu().deterministic = false; }
};

/// Gives each tensor the values of rule_weights(), frozen matrices rounded to T.
template <class T>
void fill_by_rule(TensorMemory<T, Cuda>& weights) {
  for (std::size_t i = 0; i < weights.slots().size(); ++i) {
    const TensorSlot& slot = weights.slots()[i];
    const std::vector<std::int64_t> shape(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
    std::vector<float> values(static_cast<std::size_t>(slot.spec.count()));
    fill_deterministic(saved_name(slot), shape, values);
    weights.parameters()[i].scale = 2;
    weights.fill(slot, [&](std::span<std::byte> to) {
      for (std::size_t k = 0; k < values.size(); ++k) {
        if (slot.dtype == DType::F32)
          reinterpret_cast<float*>(to.data())[k] = values[k];
        else
          reinterpret_cast<T*>(to.data())[k] = round_to<T>(values[k]);
      }
    });
  }
}

/// rule_weights() on the GPU.
template <class Model, class T, class Adapted, class RowsBelow = NoRowsBelow>
std::unique_ptr<Weights<Model, T, Cuda>> gpu_weights(Adapted adapted, RowsBelow rows_below = {}) {
  auto weights = std::make_unique<Weights<Model, T, Cuda>>([&](const TensorSpec& spec) {
    const int below = rows_below(spec);
    return TensorChoice{.dtype = dtype_of<T>,
                        .rank = adapted(spec.path.view()) ? 4 : 0,
                        .learns = below == 0,
                        .quantization = {},
                        .rows_below = below};
  });
  weights->allocate(true, gpu_device().stream());
  fill_by_rule(*weights);
  return weights;
}

/// train_once() on the GPU.
template <class Model, class T>
LossAndGradients train_once_on_gpu(const Golden& golden) {
  auto weights = gpu_weights<Model, T>([](std::string_view) { return true; });
  train::Step<Model, T, Cuda> step(gpu_device());
  std::vector<Batch> batches;
  for (const char* s : {"A", "B", "C"}) batches.push_back(golden_batch(golden, s, Model::patch_width));
  LossAndGradients out;
  out.loss = step.accumulate(*weights, packed_batch(batches), image_token_of<Model>(golden), 0).loss;
  std::vector<float> gradients(weights->gradients().size());
  Memory<Cuda>::download(gpu_device().stream(), gradients.data(), weights->gradients().data(),
                         gradients.size() * sizeof(float));
  for (const TensorSlot& slot : weights->slots()) {
    if (!slot.learns) continue;
    const auto first = gradients.begin() + static_cast<std::ptrdiff_t>(slot.offset);
    out.gradients.emplace(slot.name(), std::vector<float>(first, first + slot.spec.count()));
  }
  return out;
}

/// Greatest relative error of any tensor's gradient.
inline double worst_gradient(const LossAndGradients& a, const LossAndGradients& b, std::string& name) {
  double worst = 0;
  for (const auto& [tensor, gradient] : b.gradients) {
    const double error = a.gradients.contains(tensor) ? relative_error(a.gradients.at(tensor), gradient) : 1e30;
    if (!(error <= worst)) worst = error, name = tensor;
  }
  return worst;
}

/// Distance of a run's adapter gradients from transformers' fp32: |ours - theirs| / |theirs|, root mean square over the
/// tensors (tests/reference/half_precision.py).
inline double gradient_distance(const LossAndGradients& ours, const Golden& yardstick) {
  double sum_sq = 0;
  for (const auto& [name, gradient] : ours.gradients) {
    const std::vector<float> wanted = yardstick.floats("gradient.base_model.model." + name);
    std::vector<float> picked = gradient;
    if (wanted.size() < gradient.size()) {
      picked.resize(wanted.size());
      for (std::uint64_t k = 0; k < wanted.size(); ++k) picked[k] = gradient[k * 0x9E3779B1u % gradient.size()];
    }
    const double distance = relative_error(picked, wanted);
    sum_sq += distance * distance;
  }
  return std::sqrt(sum_sq / static_cast<double>(ours.gradients.size()));
}

/// The same of the last token's logits of sequences A, B and C, without adapters.
template <class Model, class T>
double logits_distance(const Golden& golden, const Golden& yardstick) {
  const auto weights = gpu_weights<Model, T>([](std::string_view) { return false; });
  engine::SingleSequence<Model, T, Cuda> sequence(gpu_device(), *weights, image_token_of<Model>(golden), 512);
  double sum_sq = 0;
  for (const std::string s : {"A", "B", "C"}) {
    Batch prompt = golden_batch(golden, s, Model::patch_width);
    prompt.labels.clear();
    const double distance = relative_error(sequence.prefill(prompt), yardstick.floats(s + ".logits"));
    sum_sq += distance * distance;
  }
  return std::sqrt(sum_sq / 3);
}

/// bf16 is as near transformers' fp32 as transformers' own bf16 is, within a tenth; `golden` has the sequences.
template <class Model, class AdaptedModel>
void check_half_precision(const Golden& golden, const char* yardstick_file) {
  const Golden yardstick(yardstick_file);
  const auto check = [&](const char* what, double ours) {
    const double theirs = yardstick.floats(std::string("distance.") + what)[0];
    std::cout << yardstick_file << ": " << what << " are " << ours << " from fp32, transformers' own " << theirs
              << "\n";
    CHECK(ours <= 1.1 * theirs);
  };
  check("logits", logits_distance<Model, bf16>(golden, yardstick));
  check("gradients", gradient_distance(train_once_on_gpu<AdaptedModel, bf16>(golden), yardstick));
}

/// Greedy tokens with a KV cache, beside transformers' own.
template <class Model, class T>
std::vector<int> greedy_on_gpu(const Golden& golden, const std::string& kind) {
  auto weights = gpu_weights<Model, T>([](std::string_view) { return false; });
  Batch prompt;
  if (kind == "image") prompt = golden_batch(golden, "A", Model::patch_width);
  prompt.ids = golden.ints("generate." + kind + ".prompt");
  prompt.cu_seqlens = {0, static_cast<int>(prompt.ids.size())};
  prompt.labels.clear();
  engine::SingleSequence<Model, T, Cuda> sequence(gpu_device(), *weights, image_token_of<Model>(golden), 512);
  const std::size_t count = golden.ints("generate." + kind + ".tokens").size();
  std::vector<int> tokens;
  std::vector<float> logits = sequence.prefill(prompt);
  while (tokens.size() < count) {
    tokens.push_back(static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    logits = sequence.decode(tokens.back());
  }
  return tokens;
}

/// fp32 on the GPU adds up in another order than the CPU: the parity tolerances hold for both.
template <class Plain, class OnGpu>
void check_fp32(const char* file) {
  const Golden golden(file);
  const LossAndGradients cpu = train_once<Plain>(golden), gpu = train_once_on_gpu<OnGpu, float>(golden);
  CHECK(std::abs(gpu.loss - cpu.loss) <= value_tolerance * cpu.loss);
  std::string name;
  const double worst = worst_gradient(gpu, cpu, name);
  INFO(name);
  CHECK(worst <= gradient_tolerance);
}

/// Two deterministic bf16 runs, and one that recomputes, agree bit for bit.
template <class Model, class Recomputed>
void check_repeats(const char* file) {
  const Deterministic deterministic;
  const Golden golden(file);
  const LossAndGradients once = train_once_on_gpu<Model, bf16>(golden), again = train_once_on_gpu<Model, bf16>(golden),
                         recomputed = train_once_on_gpu<Recomputed, bf16>(golden);
  CHECK(once.loss == again.loss);
  CHECK(once.gradients == again.gradients);
  CHECK(once.loss == recomputed.loss);
  CHECK(once.gradients == recomputed.gradients);
}

}  // namespace lamina::testing
