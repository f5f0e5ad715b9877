#include <optional>

#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/step/gradients/scatter.hpp>
#include <lamina/train/step/gradients/sum.hpp>

#include "cuda/gpu_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {

struct Full : fused_for<Cuda, qwen3_vl::Qwen3VL_Tiny> {};
using FullWeights = Weights<Full, bf16, Cuda>;
using GpuGroup = parallel::DeviceGroup<Cuda>;

/// A group of one that uses NCCL; nothing if it is not installed.
std::unique_ptr<GpuGroup> nccl_of_one() {
  gpu_device();  // the current GPU
  try {
    return std::make_unique<GpuGroup>(parallel::alone(), 0, true);
  } catch (const Error& e) {
    WARN("SKIPPED: " << e.what());
    return nullptr;
  }
}

std::vector<float> downloaded(std::span<const float> values) {
  std::vector<float> copy(values.size());
  Memory<Cuda>::download(gpu_device().stream(), copy.data(), values.data(), values.size_bytes());
  return copy;
}

/// What six steps of full training leave.
struct FullTraining {
  std::vector<double> losses, norms;
  std::vector<float> weights;
};
FullTraining train_fully(GpuGroup& ranks, bool divides, bool records) {
  const Golden golden("parity/qwen3_vl_tiny.safetensors");
  const auto weights = gpu_weights<Full, bf16>([](std::string_view) { return false; });
  const Stream<Cuda> stream = gpu_device().stream();
  train::Step<Full, bf16, Cuda> step(gpu_device());
  std::optional<train::DividedGradients> divided;
  if (divides) {
    divided = train::divide_gradients(weights->slots(), step.gradient_order(weights->parameters()),
                                      weights->learning_count());
    weights->place_gradients(divided->place_of, divided->count);
    weights->allocate(true, stream);
    fill_by_rule(*weights);
  }
  train::Optimizer<Cuda> optimizer(*weights, stream);
  std::optional<train::GradientSum<Cuda>> sum;
  std::optional<train::GradientScatter<Cuda>> scatter;
  if (divides)
    scatter.emplace(ranks, *weights, *divided);
  else
    sum.emplace(ranks, *weights, false);
  step.watch = divides ? scatter->watch() : sum->watch();
  step.records = records;
  FullTraining out;
  for (int i = 0; i < 6; ++i) {
    const Batch batch = packed_batch({golden_batch(golden, i % 2 == 0 ? "A" : "B", Full::patch_width)});
    out.losses.push_back(step.accumulate(*weights, batch, image_token_of<Full>(golden), 0).loss);
    const Stream<Cuda> with_scratch = gpu_device().stream(&step.scratch());
    if (divides) {
      optimizer.step(*weights, scatter->run(stream), {.learning_rate = 1e-3}, 1, ranks, with_scratch);
    } else {
      sum->run(stream);
      optimizer.step(*weights, {.learning_rate = 1e-3}, 1, with_scratch);
    }
    optimizer.exchange(*weights, ranks, stream);
    out.norms.push_back(optimizer.finish_step(stream));
  }
  out.weights = downloaded(weights->values());
  return out;
}

}  // namespace

TEST_CASE("DeviceGroup: through NCCL a group of one gets the values that it sent") {
  const auto ranks = nccl_of_one();
  if (!ranks) return;
  const Stream<Cuda> stream = gpu_device().stream();
  constexpr std::size_t count = 1000;
  Arena memory(3 * count * sizeof(float) + 3 * Arena::alignment, Memory<Cuda>{});
  const std::span<float> mine(memory.take<float>(count), count), all(memory.take<float>(count), count),
      sums(memory.take<float>(count), count);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = 1 / (1 + static_cast<float>(i));
  Memory<Cuda>::upload(stream, mine.data(), values.data(), mine.size_bytes());
  ranks->all_reduce(stream, mine);
  ranks->all_gather(stream, std::as_bytes(mine), std::as_writable_bytes(all));
  ranks->broadcast(stream, std::as_writable_bytes(all), 0);
  ranks->exchange_shares(stream, std::as_writable_bytes(all), sizeof(float));
  ranks->reduce(stream, mine, 0, sums.data());
  CHECK(downloaded(mine) == values);
  CHECK(downloaded(all) == values);
  CHECK(downloaded(sums) == values);
}

TEST_CASE("DeviceGroup: training through NCCL as a group of one repeats bit for bit, and is that without NCCL") {
  const Deterministic deterministic;
  const auto ranks = nccl_of_one();
  if (!ranks) return;
  GpuGroup none(parallel::alone());
  for (const bool divides : {false, true}) {
    INFO("divides gradients " << divides);
    const FullTraining without = train_fully(none, divides, !divides), with = train_fully(*ranks, divides, !divides),
                       again = train_fully(*ranks, divides, !divides);
    CHECK((without.losses == with.losses && with.losses == again.losses));
    CHECK((without.norms == with.norms && with.norms == again.norms));
    CHECK((without.weights == with.weights && with.weights == again.weights));
  }
}

TEST_CASE("GradientScatter: gradients that a GPU divides train as whole ones do") {
  const Deterministic deterministic;
  GpuGroup none(parallel::alone());
  const FullTraining whole = train_fully(none, false, false), divided = train_fully(none, true, false);
  REQUIRE(whole.losses.size() == divided.losses.size());
  for (std::size_t i = 0; i < whole.losses.size(); ++i) {
    CHECK(std::abs(whole.losses[i] - divided.losses[i]) <= 1e-6 * whole.losses[i]);
    CHECK(std::abs(whole.norms[i] - divided.norms[i]) <= 1e-6 * whole.norms[i]);
  }
}
