#pragma once
#include <lamina/compose/plan/initialise.hpp>
#include <lamina/compose/wrap/recompute.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/random_batch.hpp>
#include <lamina/train/step.hpp>

#include <span>
#include <vector>

/// Models whose backward completes gradients in different orders, and batches for them.
namespace lamina::testing {

using Plain3 = qwen3_vl::Qwen3VL_Tiny;
struct Fused3 : fused_for<Cpu, Plain3> {};
struct Recomputed3 : RecomputeUnder<Fused3, Plain3::language_tag> {};
struct Frozen3 : fused_for<Cpu, FreezeUnder<Plain3, Plain3::visual_tag>> {};
struct Plain2_5 : qwen2_5_vl::Qwen2_5VL<qwen2_5_vl::VisionTiny, qwen2_5_vl::TextTiny,
                                        qwen2_5_vl::UntiedHead<qwen2_5_vl::TextTiny>> {};
struct Fused2_5 : fused_for<Cpu, Plain2_5> {};  // with an output head of its own

/// With an image, or text alone: then nothing of the vision tower runs.
template <class Model>
Batch batch_of(bool image) {
  constexpr int image_token = Model::vocab_size - 1;
  Batch batch = random_batch<Model>({1, 4, 4}, 8, image_token, 1);
  if (image) return batch;
  const auto skipped = static_cast<std::ptrdiff_t>(batch.ids.size() - 8);
  batch.ids.erase(batch.ids.begin(), batch.ids.begin() + skipped);
  batch.labels.erase(batch.labels.begin(), batch.labels.begin() + skipped);
  batch.loss_weights.erase(batch.loss_weights.begin(), batch.loss_weights.begin() + skipped);
  batch.grids.clear(), batch.patches.clear();
  batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
  return batch;
}

inline std::vector<float> copied(std::span<const float> values) { return {values.begin(), values.end()}; }

}  // namespace lamina::testing
