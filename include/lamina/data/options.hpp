#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/order/mix.hpp>
#include <lamina/data/read/stage.hpp>
#include <lamina/data/sample/encode.hpp>
#include <lamina/data/sample/media_check.hpp>
#include <lamina/hub/options.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::data {

/// The data keys of a training configuration, under LLaMA-Factory's names and with its defaults.
struct DataOptions {
  std::string template_name;  ///< key `template`
  std::vector<std::string> dataset, eval_dataset;
  std::filesystem::path dataset_dir = "data";
  std::filesystem::path media_dir;  ///< empty: dataset_dir
  hub::Options hub;                 ///< for data sets on a hub; the revision is their default one
  int cutoff_len = 2048;
  bool train_on_prompt = false, mask_history = false;
  std::optional<std::int64_t> max_samples;  ///< the first rows of each data set
  double val_size = 0;                      ///< above 1 a count, below 1 a fraction
  bool eval_on_each_dataset = false;
  std::string mix_strategy = "concat";
  std::vector<double> interleave_probs;
  std::optional<std::string> default_system, tool_format;
  std::optional<bool> enable_thinking = true;
  bool preserve_thinking = false;
  std::int64_t buffer_size = 16384;  ///< rows that streaming shuffles at a time
  int stream_workers = 1;            ///< key dataloader_num_workers: each streams its own part of the data sets
  Stage stage = Stage::sft;
  /// neat_packing implies packing; unset: packing if texts are learned
  std::optional<bool> packing;
  bool neat_packing = false;
  std::int64_t preprocessing_batch_size = 1000, preprocessing_num_workers = 1;  ///< which rows packing may join
  ImageLimits images;             ///< keys image_max_pixels and image_min_pixels
  VideoOptions videos;            ///< keys video_max_pixels, video_min_pixels, video_fps and video_maxlen
  std::uint64_t seed = 42;        ///< of num_samples, mixing and val_size
  bool evaluate = true;           ///< encode the evaluation rows with their labels
  bool predict = false;           ///< encode them as questions too
  ProgressLine progress = {};     ///< gets a line now and then while images and videos are decoded
  bool skip_bad_samples = false;  ///< leave wrong records out (wrong counts of <image>, broken files) and report them

  bool packs() const { return packing.value_or(stage == Stage::pt) || neat_packing; }
  /// Maximum number of tokens of a sample. LLaMA-Factory keeps one free for padding if it packs.
  int most_tokens() const { return cutoff_len - (packing.value_or(false) || neat_packing ? 1 : 0); }
  /// Where paths of images begin.
  const std::filesystem::path& media_folder() const { return media_dir.empty() ? dataset_dir : media_dir; }
};

/// Fails on settings that exclude each other or that this library does not have.
inline void check(const DataOptions& options) {
  if (options.tool_format && *options.tool_format != "qwen") {
    fail("tool_format: ", *options.tool_format, " is not supported, these templates use qwen");
  }
  if (options.most_tokens() < 1)
    fail("cutoff_len: ", options.cutoff_len, options.packs() ? " leaves no token for packing" : " is not positive");
  if (options.mask_history && options.train_on_prompt) fail("mask_history and train_on_prompt exclude each other");
  if (options.max_samples && *options.max_samples < 1) fail("max_samples: ", *options.max_samples, " is not positive");
  const auto check_pixels = [](std::string_view what, const ImageLimits& limits) {
    if (limits.max_pixels < limits.min_pixels)
      fail(what, "_max_pixels: ", limits.max_pixels, " is below ", what, "_min_pixels ", limits.min_pixels);
    if (limits.min_pixels < 1) fail(what, "_min_pixels: ", limits.min_pixels, " is not positive");
  };
  check_pixels("image", options.images);
  check_pixels("video", options.videos.frames);
  if (!(options.videos.fps > 0)) fail("video_fps: ", options.videos.fps, " is not positive");
  if (options.videos.maxlen < 1) fail("video_maxlen: ", options.videos.maxlen, " is not positive");
  mix_strategy_named(options.mix_strategy);
  if (options.val_size != 0 && options.dataset.empty()) fail("val_size: there is no dataset to take it from");
  if (options.val_size != 0 && !options.eval_dataset.empty()) fail("val_size and eval_dataset exclude each other");
}

}  // namespace lamina::data
