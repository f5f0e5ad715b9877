#include <array>
#include <limits>
#include <set>

#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/step/gradients/sum.hpp>

#include "cuda/gpu_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Adapted
    : fused_for<Cuda, LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, Within<qwen3_vl::language_model>>> {};
using Weights_ = Weights<Adapted, bf16, Cuda>;

const Golden& golden() {
  static const Golden file("parity/qwen3_vl_tiny.safetensors");
  return file;
}

std::unique_ptr<Weights_> fresh_weights(float dropout) {
  auto weights = gpu_weights<Adapted, bf16>([](std::string_view) { return true; });
  for (std::size_t i = 0; i < weights->slots().size(); ++i) weights->parameters()[i].dropout = dropout;
  return weights;
}

std::vector<float> host_copy(std::span<float> values) {
  std::vector<float> copy(values.size());
  Memory<Cuda>::download(gpu_device().stream(), copy.data(), values.data(), values.size_bytes());
  return copy;
}

/// Two shapes that take turns, with other tokens in each step.
Batch batch_of(int step) {
  const int image_token = image_token_of<Adapted>(golden());
  std::vector<Batch> parts = {golden_batch(golden(), "A", Adapted::patch_width)};
  if (step % 2 == 1) parts.push_back(golden_batch(golden(), "B", Adapted::patch_width));
  Batch batch = packed_batch(parts);
  for (std::size_t i = 0; i < batch.ids.size(); ++i)
    if (batch.ids[i] < image_token - 8) {  // those above are the marks of images
      batch.ids[i] = (batch.ids[i] + 17 * step) % (image_token - 8);
      if (batch.labels[i] != ignored_label) batch.labels[i] = batch.ids[i];
    }
  for (float& pixel : batch.patches) pixel *= 1 + 0.01f * static_cast<float>(step);
  return batch;
}

/// Marks the launches after which a bucket of gradients is final.
struct Marking : GradientWatch {
  Marking(const Parameter* parameters, const train::GradientBuckets& buckets)
      : GradientWatch(parameters, buckets.run_of), marks(buckets.runs.size()) {}
  void ready(int run) override { marks[static_cast<std::size_t>(run)].set(gpu_device().stream()); }
  std::vector<Device<Cuda>::Mark> marks;
};

std::span<float> first_moments(const train::Optimizer<Cuda>& optimizer) {
  const train::StatePart& part = optimizer.parts().at(0);
  return {part.at<float>(), part.count};
}

/// What twelve steps leave, with a learning rate, dropout and batch of its own for each.
struct Trained {
  std::vector<double> losses, norms;
  std::vector<float> weights;
  int recorded = 0;
};
Trained train_steps(float dropout, bool records, bool ahead) {
  const auto weights = fresh_weights(dropout);
  train::Optimizer<Cuda> optimizer(*weights, gpu_device().stream());
  train::Step<Adapted, bf16, Cuda> step(gpu_device());
  step.records = records;
  std::array<train::StepBatch<Adapted, bf16, Cuda>, 2> batches;
  const auto prepare = [&](int i) {
    batches[i % 2].read(batch_of(i), image_token_of<Adapted>(golden()), dropout > 0 ? 1000 + i : 0);
  };
  const auto start = [&](int i) {
    step.start(*weights, batches[i % 2]);
    optimizer.step(*weights, {.learning_rate = 1e-3 * (1 + i)}, 1, gpu_device().stream(&step.scratch()));
    batches[i % 2].collect(gpu_device().stream(), step.objective, step.scores(), optimizer.clip());
  };
  Trained out;
  constexpr int steps = 12;
  prepare(0), start(0);
  for (int i = 0; i < steps; ++i) {
    if (ahead && i + 1 < steps) prepare(i + 1), start(i + 1);
    const auto found = batches[i % 2].found(step.objective);
    out.losses.push_back(found.loss.loss);
    out.norms.push_back(optimizer.finish_with(found.clip));
    if (!ahead && i + 1 < steps) prepare(i + 1), start(i + 1);
  }
  out.recorded = step.recorded();
  out.losses.push_back(step.evaluate(*weights, batch_of(7), image_token_of<Adapted>(golden())).loss);
  out.weights = host_copy(weights->values());
  return out;
}
}  // namespace

TEST_CASE("a step that is recorded and replayed is bit-equal to one that is launched kernel by kernel") {
  const Deterministic deterministic;
  for (const float dropout : {0.0f, 0.2f}) {
    INFO("dropout " << dropout);
    const Trained eager = train_steps(dropout, false, false);
    CHECK(eager.recorded == 0);
    for (const bool ahead : {false, true}) {
      const Trained replayed = train_steps(dropout, true, ahead);
      CHECK(replayed.recorded == 2);
      CHECK(replayed.losses == eager.losses);
      CHECK(replayed.norms == eager.norms);
      CHECK((replayed.weights == eager.weights));
    }
    CHECK(std::set<double>(eager.losses.begin(), eager.losses.end()).size() == eager.losses.size());
  }
}

TEST_CASE("a replayed step whose loss is NaN names the sequence; it and the step after it leave weights and moments") {
  const auto weights = fresh_weights(0);
  train::Optimizer<Cuda> optimizer(*weights, gpu_device().stream());
  train::Step<Adapted, bf16, Cuda> step(gpu_device());
  Batch batch = batch_of(1);
  std::array<train::StepBatch<Adapted, bf16, Cuda>, 2> batches;
  const auto start = [&](int i) {
    batches[i % 2].read(batch, image_token_of<Adapted>(golden()), 0);
    step.start(*weights, batches[i % 2]);
    optimizer.step(*weights, {.learning_rate = 1e-3}, 1, gpu_device().stream(&step.scratch()));
    batches[i % 2].collect(gpu_device().stream(), step.objective, step.scores(), optimizer.clip());
  };
  for (int i = 0; i < 3; ++i) {
    start(i);
    optimizer.finish_with(batches[i % 2].found(step.objective).clip);
  }
  const std::vector<float> before = host_copy(weights->values()), moments = host_copy(first_moments(optimizer));
  const std::vector<float> good = batch.loss_weights;
  for (int n = batch.cu_seqlens[1]; n < batch.cu_seqlens[2]; ++n)
    if (batch.loss_weights[n] != 0) batch.loss_weights[n] = std::numeric_limits<float>::quiet_NaN();
  start(3);
  batch.loss_weights = good;
  start(4);  // ahead, and finite by itself
  const auto [loss, clip] = batches[1].found(step.objective);
  const double norm = optimizer.finish_with(clip);
  CHECK(!std::isfinite(optimizer.finish_with(batches[0].found(step.objective).clip)));
  CHECK(step.recorded() == 1);
  CHECK(std::isnan(loss.loss));
  CHECK(std::isfinite(loss.sequence_losses.at(0)));
  CHECK(std::isnan(loss.sequence_losses.at(1)));
  CHECK(!std::isfinite(norm));
  CHECK(optimizer.steps == 3);
  CHECK((host_copy(weights->values()) == before));
  CHECK((host_copy(first_moments(optimizer)) == moments));
}

TEST_CASE("a step marks each bucket of gradients once they are final, launched or replayed: a side stream reads them") {
  struct Full : fused_for<Cuda, qwen3_vl::Qwen3VL_Tiny> {};
  const auto weights = gpu_weights<Full, bf16>([](std::string_view) { return true; });
  const train::GradientBuckets buckets = train::gradient_buckets(weights->slots(), 50'000);
  Marking watch(weights->parameters(), buckets);
  train::Step<Full, bf16, Cuda> step(gpu_device());
  step.watch = &watch;
  train::StepBatch<Full, bf16, Cuda> batch;
  Device<Cuda>::SideStream beside;
  Arena staging = Arena::staging(weights->learning_count() * sizeof(float), Memory<Cuda>{});
  float* const seen = staging.take<float>(weights->learning_count());
  for (int i = 0; i < 4; ++i) {
    INFO("step " << i);
    Memory<Cuda>::zero(gpu_device().stream(), weights->gradients().data(), weights->gradients().size_bytes());
    batch.read(batch_of(2 * i), image_token_of<Full>(golden()), 0);
    step.start(*weights, batch);
    CHECK(step.recorded() == (i > 0));
    for (std::size_t b = 0; b < watch.marks.size(); ++b) {
      beside.wait_for(watch.marks[b]);
      const parallel::Share& run = buckets.runs[b];
      Memory<Cuda>::download_later(beside.stream(), seen + run.first, weights->gradients().data() + run.first,
                                   run.count * sizeof(float));
    }
    beside.join(gpu_device().stream());
    gpu_device().wait();
    const std::vector<float> last = host_copy(weights->gradients());
    CHECK(std::equal(last.begin(), last.end(), seen));
    CHECK(std::any_of(last.begin(), last.end(), [](float v) { return v != 0; }));
  }
}
