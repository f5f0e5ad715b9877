#pragma once
#include <algorithm>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/random/torch.hpp>

namespace lamina::testing {

/// One sequence for trying a vision-language model on: an image of `grid` random patches in `image_token` places, then
/// `tokens` random tokens, which carry the loss, their mean.
template <class Model>
Batch random_batch(Grid grid, int tokens, int image_token, std::uint64_t seed) {
  TorchGenerator random(seed);
  Batch batch;
  batch.grids = {grid};
  batch.ids.assign(static_cast<std::size_t>(Model::visual_tokens(grid)), image_token);
  batch.labels.assign(batch.ids.size(), ignored_label);
  batch.loss_weights.assign(batch.ids.size(), 0.0f);
  for (int n = 0; n < tokens; ++n) {
    const int id = static_cast<int>(random.random() % static_cast<std::uint32_t>(Model::vocab_size));
    batch.ids.push_back(id == image_token ? (id + 1) % Model::vocab_size : id);
    batch.labels.push_back(batch.ids.back());
    batch.loss_weights.push_back(1.0f / static_cast<float>(tokens));
  }
  batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
  batch.patches.resize(static_cast<std::size_t>(grid.patches()) * Model::patch_width);
  std::generate(batch.patches.begin(), batch.patches.end(), [&] { return random.uniform(-1, 1); });
  return batch;
}

}  // namespace lamina::testing
