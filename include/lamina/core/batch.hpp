#pragma once
#include <cstdint>
#include <iterator>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/objective/preference_loss.hpp>

namespace lamina {

/// The patch grid of one image (t = 1) or one clip: t * h * w patches.
struct Grid {
  int t = 0, h = 0, w = 0;
  float time_step = 0;  ///< positions on the time axis from one t to the next: second_per_grid * tokens_per_second
  int patches() const { return t * h * w; }
  bool operator==(const Grid&) const = default;
};

/// How many tokens of the language model a vision tower makes of a grid. A model's type says it, as
/// Model::visual_tokens; data preparation, positions and the engine all ask this.
struct VisualTokens {
  int merge = 1;      ///< merge x merge patches become one token
  int per_frame = 0;  ///< if not 0: each frame becomes so many tokens, whatever its size (compose/cross.hpp)

  /// Their places on the axes of time, height and width. Those of a frame that have no place in it are one row.
  constexpr Grid grid(const Grid& g) const {
    if (per_frame > 0) return {g.t, 1, per_frame, g.time_step};
    return {g.t, g.h / merge, g.w / merge, g.time_step};
  }
  constexpr int operator()(const Grid& g) const { return rows(g.t * g.h * g.w, g.t); }
  /// Of so many patches in so many frames.
  constexpr int rows(int patches, int frames) const {
    return per_frame > 0 ? per_frame * frames : patches / (merge * merge);
  }
  constexpr bool operator==(const VisualTokens&) const = default;
};

/// The ids of tokens in whose places images and videos are; -1: there are none. An int is that of images alone.
struct VisionTokens {
  int image = -1, video = -1;
  constexpr VisionTokens(int image = -1, int video = -1) : image(image), video(video) {}
  constexpr bool operator()(int id) const { return id >= 0 && (id == image || id == video); }
};

/// The token that carries no loss.
inline constexpr int ignored_label = -100;

/// Packed sequences: nothing is ever padded. N tokens in all, S sequences, P patches.
struct Batch {
  std::vector<int> ids;             ///< (N) placeholders of images and videos already expanded
  std::vector<int> cu_seqlens;      ///< (S + 1) first token of each sequence, then N
  std::vector<int> labels;          ///< (N) as Hugging Face has them (token i predicts label i + 1), or empty
  std::vector<float> loss_weights;  ///< (N) weight of each label: loss = sum_i weight[i] * nll(label[i]); or empty
  std::vector<SequenceRole> roles;  ///< (S) of preference data; or empty
  std::vector<int> cu_parts;        ///< (micro-batches + 1) first token of each, then N; or empty: it is one
  std::vector<int> cu_groups;       ///< (groups + 1) first sequence of those that are judged together, then S; or empty
  std::vector<float> patches;       ///< (P, in_channels * temporal_patch_size * patch_size^2)
  std::vector<Grid> grids;          ///< one per image and run of a video's tokens, in the order of their placeholders
};

/// Error if the values are not those of the grids' patches, `width` each.
inline void expect_patches(const Batch& batch, int width) {
  std::int64_t patches = 0;
  for (const Grid& grid : batch.grids) patches += grid.patches();
  if (std::ssize(batch.patches) != patches * width)
    fail("batch: ", patches, " patches in the grids, but ", batch.patches.size(), " values: a patch has ", width);
}

}  // namespace lamina
