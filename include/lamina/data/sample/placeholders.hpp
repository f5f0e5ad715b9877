#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/data/sample/video_plan.hpp>

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

/// The tokens in whose places images and videos are, in a sample on its way to the model.
namespace lamina::data::detail {

/// A run of equal placeholder tokens.
struct PlaceholderRun {
  int id = 0, length = 0;
  bool operator==(const PlaceholderRun&) const = default;
};

/// A pair as tokens, with the images and videos of its placeholders.
struct TokenPair {
  std::vector<int> source, target;
  std::vector<std::filesystem::path> images;
  std::vector<std::shared_ptr<const VideoPlan>> videos;
  std::vector<PlaceholderRun> runs;
  std::vector<int> image_patches = {};  ///< of each of the images
};

/// Appends the runs of placeholders.
inline void add_runs(std::span<const int> ids, VisionTokens vision_tokens, std::vector<PlaceholderRun>& runs) {
  int before = -1;
  for (const int id : ids) {
    if (vision_tokens(id) && id != before) runs.push_back({id, 0});
    if (vision_tokens(id)) ++runs.back().length;
    before = id;
  }
}

/// The runs of both parts of a pair.
inline std::vector<PlaceholderRun> runs_of(const TokenPair& pair, VisionTokens vision_tokens) {
  std::vector<PlaceholderRun> runs;
  add_runs(pair.source, vision_tokens, runs);
  add_runs(pair.target, vision_tokens, runs);
  return runs;
}

/// The media of a placeholder of a record, and the runs of tokens that it becomes.
struct Placed {
  std::filesystem::path image;             ///< or
  std::shared_ptr<const VideoPlan> video;  ///< a video
  std::vector<PlaceholderRun> runs;
  int image_patches = 0;
};

template <class T>
void append(std::vector<T>& to, const std::vector<T>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace lamina::data::detail
