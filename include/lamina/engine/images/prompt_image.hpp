#pragma once
#include <algorithm>
#include <span>
#include <utility>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>

namespace lamina::engine {

/// The image of a prompt whose placeholders begin at token `first`: its shape and its patches.
template <class Model>
std::pair<Grid, std::span<const float>> image_at(const Batch& prompt, int first, VisionTokens vision_tokens) {
  std::size_t patch = 0;
  auto token = prompt.ids.begin();
  for (const Grid& grid : prompt.grids) {
    const std::size_t values = static_cast<std::size_t>(grid.patches()) * Model::patch_width;
    token = std::find_if(token, prompt.ids.end(), vision_tokens);
    if (token - prompt.ids.begin() == first) return {grid, std::span(prompt.patches).subspan(patch, values)};
    patch += values;
    token += Model::visual_tokens(grid);
  }
  fail("a step encodes an image that its request does not have");
}

}  // namespace lamina::engine
