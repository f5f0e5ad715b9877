#pragma once
#include <lamina/kernel/cpu.hpp>
#include <lamina/serve/decoder.hpp>
#include <lamina/testing/deterministic_weights.hpp>
#include <lamina/train/optimizer.hpp>
#include <lamina/train/step.hpp>

#include "support/golden.hpp"

/// Parity with transformers and peft in fp32 on the tiny models: tests/reference/parity.py wrote the golden files and
/// documents their layout. Tolerances are the issue's: 1e-5 relative for values, 1e-4 for gradients.
namespace lamina::testing {

inline constexpr double value_tolerance = 1e-5, gradient_tolerance = 1e-4;

inline std::string saved_name(const TensorSlot& slot) { return (slot.spec.adapter ? "base_model.model." : "") + slot.name(); }

/// Weights by rule; adapters of rank 4 and scale 2 where `adapted` says so.
template <class Model, class Adapted>
std::unique_ptr<Weights<Model, float>> rule_weights(Adapted adapted) {
  auto weights = std::make_unique<Weights<Model, float>>([&](const TensorSpec& spec) {
    return typename Weights<Model, float>::Choice{DType::F32, adapted(spec.path.view()) ? 4 : 0, true};
  });
  weights->allocate(true);
  for (std::size_t i = 0; i < weights->slots().size(); ++i) {
    const TensorSlot& slot = weights->slots()[i];
    const std::vector<std::int64_t> shape(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
    fill_deterministic(saved_name(slot), shape, {static_cast<float*>(weights->data(slot)), static_cast<std::size_t>(slot.spec.count())});
    weights->parameters()[i].scale = 2;
  }
  return weights;
}

inline Batch golden_batch(const Golden& golden, const std::string& s, int patch_width) {
  Batch batch;
  batch.ids = golden.ints(s + ".ids");
  batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
  batch.labels = golden.ints(s + ".labels");
  const std::vector<int> grids = golden.ints(s + ".grids");
  std::int64_t patches = 0;
  for (std::size_t i = 0; i + 2 < grids.size(); i += 3) {
    batch.grids.push_back({grids[i], grids[i + 1], grids[i + 2]});
    patches += batch.grids.back().patches();
  }
  batch.patches.resize(static_cast<std::size_t>(patches) * patch_width);
  if (patches > 0) fill_deterministic("pixels." + s, std::vector<std::int64_t>{patches, patch_width}, batch.patches);
  return batch;
}

/// Mean over the labelled tokens of each sequence, then over `groups` sequences.
inline void weigh_labels(Batch& batch, int groups) {
  batch.loss_weights.assign(batch.ids.size(), 0.0f);
  for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
    int count = 0;
    for (int n = batch.cu_seqlens[s] + 1; n < batch.cu_seqlens[s + 1]; ++n) count += batch.labels[n] != ignored_label;
    for (int n = batch.cu_seqlens[s] + 1; n < batch.cu_seqlens[s + 1]; ++n)
      if (batch.labels[n] != ignored_label) batch.loss_weights[n] = 1.0f / static_cast<float>(count * groups);
  }
}

/// Several batches as one packed run.
inline Batch packed_batch(const std::vector<Batch>& batches) {
  Batch out;
  out.cu_seqlens = {0};
  for (const Batch& b : batches) {
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    append(out.ids, b.ids), append(out.labels, b.labels), append(out.patches, b.patches), append(out.grids, b.grids);
    out.cu_seqlens.push_back(static_cast<int>(out.ids.size()));
  }
  weigh_labels(out, static_cast<int>(batches.size()));
  return out;
}

template <class Model>
int image_token_of(const Golden& golden) {  // A starts with 5 text tokens and <|vision_start|>
  return golden.ints("A.ids")[6];
}

/// A gradient against its golden: in full, or as norm and 64 picked elements.
inline void check_gradient(const std::vector<float>& golden, std::span<const float> gradient, const std::string& name) {
  INFO(name);
  if (golden.size() == gradient.size()) {
    CHECK(relative_error(gradient, golden) <= gradient_tolerance);
    return;
  }
  REQUIRE(golden.size() == 65);
  double sum_sq = 0;
  for (float g : gradient) sum_sq += static_cast<double>(g) * static_cast<double>(g);
  CHECK(std::abs(std::sqrt(sum_sq) - golden[0]) <= gradient_tolerance * golden[0]);
  std::vector<float> picked;
  for (std::uint64_t k = 0; k < 64; ++k) picked.push_back(gradient[k * 0x9E3779B1u % gradient.size()]);
  // 64 elements stand for all: an error of 1e-4 of the tensor's norm, spread evenly, is this much on them
  const double scale = golden[0] * std::sqrt(64.0 / static_cast<double>(gradient.size()));
  double difference = 0;
  for (std::size_t k = 0; k < 64; ++k) difference += std::pow(static_cast<double>(picked[k]) - golden[k + 1], 2);
  CHECK(std::sqrt(difference) <= gradient_tolerance * std::max(scale, std::sqrt(sum_sq) * 1e-2));
}

template <class Model>
void check_gradients(Weights<Model, float>& weights, const Golden& golden, const std::string& prefix) {
  int checked = 0;
  for (const TensorSlot& slot : weights.slots()) {
    const std::string name = prefix + saved_name(slot);
    if (!slot.learns || slot.spec.count() == 0) continue;
    REQUIRE(golden.has(name));
    check_gradient(golden.floats(name), weights.gradients().subspan(slot.offset, static_cast<std::size_t>(slot.spec.count())), name);
    ++checked;
  }
  CHECK(checked > 0);
}

/// Ten AdamW steps; each sees two sequences of A B C A B C ...
template <class Model>
void check_ten_steps(Weights<Model, float>& weights, const Golden& golden, const std::string& run, double learning_rate) {
  const int image_token = image_token_of<Model>(golden);
  std::vector<Batch> batches;
  for (const char* s : {"A", "B", "C"}) batches.push_back(golden_batch(golden, s, Model::patch_width));
  train::Step<Model> step;
  train::Optimizer optimizer(weights.learning_count());
  std::fill(weights.gradients().begin(), weights.gradients().end(), 0.0f);
  const std::vector<float> losses = golden.floats("steps." + run + ".loss"), norms = golden.floats("steps." + run + ".grad_norm");
  for (int k = 0; k < 10; ++k) {
    const Batch window = packed_batch({batches[2 * k % 3], batches[(2 * k + 1) % 3]});
    const double loss = step.accumulate(weights, window, image_token, 0).loss;
    const double norm = train::gradient_norm(weights);
    INFO(run << " step " << k);
    CHECK(std::abs(loss - losses[k]) <= value_tolerance * std::max(1.0f, losses[k]));
    CHECK(std::abs(norm - norms[k]) <= gradient_tolerance * norms[k]);
    optimizer.update(weights, AdamW{.learning_rate = learning_rate}, norm > 1 ? 1 / (norm + 1e-6) : 1.0);
  }
}

/// 64 greedy tokens with a KV cache.
template <class Model>
void check_greedy(const Weights<Model, float>& weights, const Golden& golden, const std::string& kind) {
  Batch prompt;
  if (kind == "image") prompt = golden_batch(golden, "A", Model::patch_width);
  prompt.ids = golden.ints("generate." + kind + ".prompt");
  prompt.cu_seqlens = {0, static_cast<int>(prompt.ids.size())};
  prompt.labels.clear();
  serve::Decoder<Model> decoder(weights, image_token_of<Model>(golden), 512);
  const std::vector<int> expected = golden.ints("generate." + kind + ".tokens");
  std::vector<int> tokens;
  std::span<const float> logits = decoder.prefill(prompt);
  while (tokens.size() < expected.size()) {
    tokens.push_back(static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    logits = decoder.decode(tokens.back());
  }
  CHECK(tokens == expected);
}

}  // namespace lamina::testing
