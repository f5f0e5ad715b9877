// Training steps on the GPU, random weights: bench_gpu_step a|b|c|f|f8|m [STEPS [MODE]]. Rate and peak memory of
//   a  Qwen3-VL-2B, r = 8: 8 samples a step, each one 512x512 image and 344 tokens of text, loss on the last 200
//   b  Qwen3-VL-2B, r = 8: 16 sequences of 2048 tokens of text a step, loss on all
//   c  Qwen2.5-VL-7B, r = 16: 4 sequences of 4096 tokens a step, loss on all
//   f  Qwen3-VL-2B, the whole decoder trained: b's sequences; f8 takes 8 of them a step
//   m  one sample of a, with recomputed decoder layers: how little memory it takes
// Started as several ranks (torchrun --no-python), each GPU has such a batch and gradients are summed: the rate is that
// of all. MODE during: they are summed during backward, on one host too. The peer of each is peer.py --case a|b|c|f.
// nf4: the decoder's frozen matrices are stored so. eager: no step becomes a CUDA graph. trace: also how long the GPU
// idles between kernels. nccl: a group of one uses NCCL too. stage1: ranks share the optimizer, as lamina-train does
// with deepspeed stage 1; stage2: the gradients as well.
#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <random>

#include <lamina/compose/wrap/recompute.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cuda.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/parallel/open_group.hpp>
#include <lamina/train/step.hpp>
#include <lamina/train/step/gradients/scatter.hpp>
#include <lamina/train/step/gradients/sum.hpp>
#include <lamina/train/step/optimizer.hpp>

#include "../random_weights.hpp"
#include "trace.hpp"

namespace {
using namespace lamina;
using namespace lamina::name;
using namespace qwen_vl::tags;
using Linears = Within<language_model, Targets<q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj>>;
struct CaseAB : fused_for<Cuda, LoRA<qwen3_vl::Qwen3VL_2B, Rank<8>, Alpha<16>, Linears>> {};
struct CaseF : fused_for<Cuda, FreezeUnder<qwen3_vl::Qwen3VL_2B, qwen3_vl::Qwen3VL_2B::visual_tag>> {};
struct CaseM : RecomputeUnder<CaseAB, language_model> {};
struct CaseC : fused_for<Cuda, LoRA<qwen2_5_vl::Qwen2_5VL_7B, Rank<16>, Alpha<32>, Linears>> {};

constexpr int image_token = 151655;

struct Shape_ {
  int samples, text_tokens, labels, image_side;  ///< side in patches, 0: no image
};

Batch random_batch(const Shape_& shape, int patch_width) {
  std::mt19937 random(1);
  Batch batch;
  batch.cu_seqlens = {0};
  const int visual = shape.image_side * shape.image_side / 4;
  for (int s = 0; s < shape.samples; ++s) {
    if (visual > 0) {
      batch.ids.insert(batch.ids.end(), static_cast<std::size_t>(visual), image_token);
      batch.grids.push_back({1, shape.image_side, shape.image_side});
    }
    for (int i = 0; i < shape.text_tokens; ++i) batch.ids.push_back(static_cast<int>(random() % 150000));
    batch.labels.resize(batch.ids.size(), ignored_label);
    for (std::size_t i = batch.ids.size() - static_cast<std::size_t>(shape.labels); i < batch.ids.size(); ++i)
      batch.labels[i] = batch.ids[i];
    batch.cu_seqlens.push_back(static_cast<int>(batch.ids.size()));
  }
  batch.loss_weights.assign(batch.ids.size(), 1.0f / static_cast<float>(shape.samples * shape.labels));
  std::normal_distribution<float> pixel;
  std::vector<float> block(1 << 20);
  for (float& v : block) v = pixel(random);
  batch.patches.resize(static_cast<std::size_t>(shape.samples) * shape.image_side * shape.image_side * patch_width);
  for (std::size_t i = 0; i < batch.patches.size(); ++i) batch.patches[i] = block[i % block.size()];
  return batch;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The end of a step: how ranks sum gradients and update weights.
template <class W>
class Ending {
 public:
  Ending(parallel::DeviceGroup<Cuda>& gpus, W& weights, const std::string& mode,
         GradientOrder (*order)(const Parameter*), Device<Cuda>& device)
      : gpus_(gpus), shares_(mode == "stage1" || mode == "stage2"), optimizer_(share(gpus, weights)) {
    weights.keep(optimizer_.share());
    if (mode == "stage2") divided_ = train::divide_gradients_of(weights, optimizer_.share().count, order);
    weights.allocate(true, device.stream());
    randomise(weights);
    optimizer_.allocate(weights, device.stream());
    const bool pays = train::GradientSum<Cuda>::pays_during_backward(gpus.group().place(), weights.learning_count());
    if (divided_)
      scatter_.emplace(gpus, weights, *divided_);
    else
      sum_.emplace(gpus, weights, mode == "during" || pays);
  }
  GradientListener* watch() { return scatter_ ? scatter_->watch() : sum_->watch(); }
  bool can_record() const { return !scatter_; }
  train::Optimizer<Cuda>& optimizer() { return optimizer_; }
  void run(W& weights, Stream<Cuda> stream) {
    const OptimizerSettings settings{.learning_rate = 1e-4};
    if (scatter_) {
      optimizer_.step(weights, scatter_->run(stream), settings, 1.0, gpus_, stream);
    } else {
      sum_->run(stream);
      optimizer_.step(weights, settings, 1.0, stream);
    }
    if (shares_) optimizer_.exchange(weights, gpus_, stream);
  }

 private:
  parallel::Share share(parallel::DeviceGroup<Cuda>& gpus, W& weights) const {
    const std::size_t count = weights.learning_count();
    return shares_ ? parallel::share_of(count, gpus.rank(), gpus.size()) : parallel::Share{0, count};
  }
  parallel::DeviceGroup<Cuda>& gpus_;
  bool shares_;
  train::Optimizer<Cuda> optimizer_;
  std::optional<train::DividedGradients> divided_;
  std::optional<train::GradientSum<Cuda>> sum_;
  std::optional<train::GradientScatter<Cuda>> scatter_;
};

template <class Model>
void run(parallel::Group& ranks, const char* name, const Shape_& shape, int steps, const std::string& mode) {
  std::optional<GpuTrace> trace;
  if (mode == "trace") trace.emplace();
  Device<Cuda> device(ranks.place().local_rank);
  parallel::DeviceGroup<Cuda> gpus(ranks, 0, mode == "nccl");
  const std::size_t free_before = CudaDevice::free_bytes();
  Weights<Model, bf16, Cuda> weights([&](const TensorSpec& tensor) {
    const bool stays =
        tensor.learns || tensor.added || !tensor.takes_row_terms || tensor.path.view().starts_with("model.visual.");
    return TensorChoice{.dtype = DType::BF16,
                        .quantization = mode != "nf4" || stays ? Quantization{}
                                                               : Quantization::four_bit(Quantization::Code::nf4, true)};
  });
  std::printf("case %s: frozen weights of %.2f GiB\n", name, static_cast<double>(weights.frozen_bytes()) / (1u << 30));
  train::Step<Model, bf16, Cuda> step(device);
  Ending ending(gpus, weights, mode, step.gradient_order, device);
  train::Optimizer<Cuda>& optimizer = ending.optimizer();
  step.watch = ending.watch();
  const Batch batch = random_batch(shape, Model::patch_width);
  const auto planned =
      weights.frozen_bytes() + weights.learning_bytes(true) + optimizer.bytes(weights) +
      train::Step<Model, bf16, Cuda>::plan(weights.parameters(), static_cast<int>(batch.ids.size()), shape.samples,
                                           shape.samples * shape.image_side * shape.image_side)
          .total();
  step.records = mode != "eager" && ending.can_record();
  std::array<train::StepBatch<Model, bf16, Cuda>, 2> batches;
  double starting = 0;
  const auto prepare = [&](int i) { batches[i % 2].read(batch, image_token, 0); };
  const auto start = [&](int i) {
    const auto begin = std::chrono::steady_clock::now();
    step.start(weights, batches[i % 2]);
    ending.run(weights, device.stream(&step.scratch()));
    batches[i % 2].collect(device.stream(), step.objective, step.scores(), optimizer.clip());
    starting = seconds_since(begin);
  };
  std::vector<double> seconds;
  double loss = 0, first = 0;
  prepare(0), start(0), prepare(1);
  for (int i = 0; i < steps + 3; ++i) {  // as a training loop does it
    if (trace && i == 3) device.wait(), trace->restart();
    const auto begin = std::chrono::steady_clock::now();
    start(i + 1);
    const auto found = batches[i % 2].found(step.objective);
    loss = found.loss.loss;
    optimizer.finish_with(found.clip);
    const auto finished = std::chrono::steady_clock::now();
    prepare(i + 2);
    if (i == 0) first = loss;
    if (i >= 3) seconds.push_back(seconds_since(begin));
    if (i == steps + 2 && ranks.first())
      std::printf("case %s: the host needs %.2f ms to start a step, %.2f ms to prepare one\n", name, 1e3 * starting,
                  1e3 * seconds_since(finished));
  }
  device.wait();
  if (trace) {
    const auto seen = trace->summary();
    std::printf("case %s: traced for %d steps: %zu launches a step, the GPU idle for %.2f %% of %.1f ms\n", name, steps,
                seen.launches / static_cast<std::size_t>(steps), 100 * seen.idle_share(), seen.elapsed_ms);
  }
  if (seconds.empty() || !ranks.first()) return;  // a negative number of steps: for profilers
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  std::printf(
      "case %s, %d GPU: %.2f samples/s, %.0f tokens/s, %.1f ms a step, peak %.2f GiB (planned %.2f), loss %.4f to "
      "%.4f\n",
      name, ranks.size(), ranks.size() * shape.samples / median,
      static_cast<double>(ranks.size()) * static_cast<double>(batch.ids.size()) / median, 1e3 * median,
      static_cast<double>(free_before - CudaDevice::free_bytes()) / (1u << 30),
      static_cast<double>(planned) / (1u << 30), first, loss);
}
}  // namespace

int main(int argc, char** argv) try {
  const parallel::OpenedGroup started = parallel::open_group(parallel::find_launch(), 600, "");
  parallel::Group& ranks = *started.group;
  use_one_thread();  // as lamina-train does with a GPU
  const std::string name = argc > 1 ? argv[1] : "";
  const int steps = argc > 2 ? std::atoi(argv[2]) : 10;
  const std::string mode = argc > 3 ? argv[3] : "";
  if (name == "a") return run<CaseAB>(ranks, "a", {8, 344, 200, 32}, steps, mode), 0;
  if (name == "b") return run<CaseAB>(ranks, "b", {16, 2048, 2048, 0}, steps, mode), 0;
  if (name == "c") return run<CaseC>(ranks, "c", {4, 4096, 4096, 0}, steps, mode), 0;
  if (name == "f") return run<CaseF>(ranks, "f", {16, 2048, 2048, 0}, steps, mode), 0;
  if (name == "f8") return run<CaseF>(ranks, "f8", {8, 2048, 2048, 0}, steps, mode), 0;
  if (name == "m") return run<CaseM>(ranks, "m", {1, 344, 200, 32}, steps, mode), 0;
  return std::fprintf(stderr,
                      "usage: bench_gpu_step a|b|c|f|f8|m [STEPS [eager|trace|during|nf4|nccl|stage1|stage2]]\n"),
         2;
} catch (const std::exception& e) {
  return std::fprintf(stderr, "bench_gpu_step: %s\n", e.what()), 1;
}
