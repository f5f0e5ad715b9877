#pragma once
#include <cmath>
#include <lamina/fuse.hpp>
#include <map>

#include "model/parity.hpp"

/// A model and its fused form on the same weights and batch.
namespace lamina::testing {

/// Loss and gradients, by tensor name, of sequences A, B and C in one run.
struct LossAndGradients {
  double loss = 0;
  std::map<std::string, std::vector<float>> gradients;
};
template <class Model>
LossAndGradients train_once(const Golden& golden) {
  auto weights = rule_weights<Model>([](std::string_view) { return true; });
  train::Step<Model> step;
  std::vector<Batch> batches;
  for (const char* s : {"A", "B", "C"}) batches.push_back(golden_batch(golden, s, Model::patch_width));
  LossAndGradients out;
  out.loss = step.accumulate(*weights, packed_batch(batches), image_token_of<Model>(golden), 0).loss;
  for (const TensorSlot& slot : weights->slots()) {
    if (!slot.learns) continue;
    const auto g = weights->gradients().subspan(slot.offset, static_cast<std::size_t>(slot.spec.count()));
    out.gradients.emplace(slot.name(), std::vector<float>(g.begin(), g.end()));
  }
  return out;
}

/// Fusion reorders fp32 sums and rounds no value more often. A sum of n terms in another order differs by about
/// eps sqrt(n); n is at most 1536 here (dx through gate and up), and 32 such sums follow one another (four per layer).
inline const double fused_tolerance = std::ldexp(1.0, -23) * std::sqrt(1536.0) * std::sqrt(32.0);

template <class Fused>
void check_fused(const char* file) {
  const Golden golden(file);
  const LossAndGradients plain = train_once<typename Fused::unfused>(golden), fused = train_once<Fused>(golden);
  CHECK(std::abs(plain.loss - fused.loss) <= fused_tolerance * plain.loss);
  REQUIRE(fused.gradients.size() == plain.gradients.size());
  REQUIRE(!plain.gradients.empty());
  for (const auto& [name, gradient] : plain.gradients) {
    INFO(name);
    REQUIRE(fused.gradients.contains(name));
    CHECK(relative_error(fused.gradients.at(name), gradient) <= fused_tolerance);
  }
}

/// Launches of one training step whose module path begins with `prefix`, by kernel.
template <class Model>
std::map<std::string, int> launches(const char* file, std::string_view prefix) {
  const Golden golden(file);
  auto weights = rule_weights<Model>([](std::string_view) { return true; });
  Batch batch = golden_batch(golden, "A", Model::patch_width);
  weigh_labels(batch, 1);
  Tables<Model> tables;
  const auto in = tables.template build<float>(batch, image_token_of<Model>(golden));
  PlanRecord record;
  train::Step<Model>::template plan<Mode<float, true, false>>(weights->parameters(), in, train::LabelledRows(batch),
                                                              &record);
  std::map<std::string, int> count;
  for (const auto& launch : record.launches)
    if (std::string_view(launch.path).starts_with(prefix)) ++count[launch.kernel];
  return count;
}

}  // namespace lamina::testing
