#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/engine/request/request.hpp>

#include <algorithm>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace lamina::testing {

inline constexpr int image_token = 250;

/// A prompt of random text with images of some sizes; equal seeds are equal prompts.
template <class Model>
Batch random_prompt(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Batch batch;
  const auto text = [&](int n) {
    for (int i = 0; i < n; ++i) batch.ids.push_back(below(image_token));
  };
  text(1 + below(20));
  for (int i = below(3); i > 0; --i) {
    const Grid grid{1, Model::merge * (1 + below(4)), Model::merge * (1 + below(4))};
    batch.ids.insert(batch.ids.end(), static_cast<std::size_t>(Model::visual_tokens(grid)), image_token);
    for (int n = grid.patches() * Model::patch_width; n > 0; --n)
      batch.patches.push_back(std::uniform_real_distribution<float>(-1, 1)(random));
    batch.grids.push_back(grid);
    text(1 + below(10));
  }
  batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
  return batch;
}

/// Two images of one hash must be one image: the hash here is of their patches.
inline std::vector<engine::ImageSpan> spans_of(const Batch& batch, VisualTokens visual_tokens, int patch_width) {
  std::vector<engine::ImageSpan> spans;
  std::size_t at = 0, patch = 0;
  for (const Grid& grid : batch.grids) {
    while (batch.ids[at] != image_token) ++at;
    const std::size_t values = static_cast<std::size_t>(grid.patches()) * static_cast<std::size_t>(patch_width);
    std::uint64_t h = static_cast<std::uint64_t>(grid.h) << 32 | static_cast<std::uint64_t>(grid.w);
    for (std::size_t i = 0; i < values; ++i) {
      std::uint32_t bits;
      std::memcpy(&bits, &batch.patches[patch + i], sizeof bits);
      h = (h ^ bits) * 0x9e3779b97f4a7c15ull;
    }
    engine::ImageSpan span = engine::span_of({}, static_cast<int>(at), grid, visual_tokens);
    std::memcpy(span.hash.data(), &h, sizeof h);
    spans.push_back(span);
    at += static_cast<std::size_t>(span.tokens);
    patch += values;
  }
  return spans;
}

inline int best_of(std::span<const float> logits) {
  return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace lamina::testing
