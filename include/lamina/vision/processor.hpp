#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/io/json/file.hpp>
#include <lamina/model/config/model_config.hpp>
#include <lamina/model/processor_format.hpp>
#include <lamina/vision/image.hpp>
#include <lamina/vision/patch.hpp>
#include <lamina/vision/processor_fields.hpp>

#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace lamina::vision {

/// The model's own image preprocessing ("stage B"): resize to a multiple of patch_size * merge_size, normalise, cut
/// into patches. Equal to transformers' Qwen2VLImageProcessorFast on a CPU.
///
///     y[c] = (x[c] - 255 * mean[c]) / (255 * std[c])        x in 0..255, all in fp32
///
/// rows      (P, 3 * temporal_patch_size * patch_size^2), P = grid.h * grid.w: within a row (channel, frame, y, x), x
///           fastest, a still image standing in every frame; rows in block-major order (block row, block column, row
///           in block, column in block), so that merge_size^2 neighbours become one token
/// source    transformers 5.6, models/qwen2_vl/image_processing_qwen2_vl.py
struct Processor : ProcessorFormat {
  /// Of a model whose tower makes as many tokens of every frame (VisualTokens::per_frame); else 0.
  int tokens_per_frame = 0;

  /// Reads preprocessor_config.json, or the image_processor part of processor_config.json (transformers 5). Limits may
  /// be min_pixels/max_pixels (which win) or size.shortest_edge/longest_edge, of which transformers too wants both.
  /// processor_fields.hpp says what becomes of every field: steps that are switched off or differ from the above
  /// (do_resize, resample, rescale_factor...) are refused, not ignored.
  /// format: the family's, for what the file leaves out. A family that reads no images has no such file.
  static Processor load(const std::filesystem::path& model_dir, const ProcessorFormat& format);

  /// Error if patches of these sizes are not those that the model's tower takes. model_dir is for the message.
  void require_patches_of(const TowerConfig& tower, const std::filesystem::path& model_dir) const;

  /// How many tokens of the language model a grid has.
  VisualTokens visual_tokens() const { return {merge_size, tokens_per_frame}; }
  /// Takes the number from the model's type. Error if that joins other squares of patches than the files say.
  void set_visual_tokens(VisualTokens of_model, const std::filesystem::path& model_dir);

  /// Length of a row of patches.
  int row_length() const { return 3 * temporal_patch_size * patch_size * patch_size; }

  /// The patch grid of an image of this size. Fails for a ratio of sides above 200.
  Grid grid_for(ImageSize size) const;

  /// Writes the image's rows: grid_for(image.size()).patches() of row_length() values.
  void write_patches(const Image& image, std::span<float> rows) const;
  /// Resizes an image to grid.w x grid.h patches and writes it as the frames [first, end) of one group of frames: into
  /// rows of grid.h * grid.w patches, whose other frames stay.
  void write_frames(const Image& image, const Grid& grid, int first, int end, std::span<float> rows) const;
  /// Appends the image's rows to `rows` and returns its grid.
  Grid append_patches(const Image& image, std::vector<float>& rows) const;
};

namespace detail {

/// Rounds to a multiple of `factor`, ties to an even multiple, as Python's round.
inline std::int64_t round_to_multiple(int side, int factor) {
  const std::int64_t below = side / factor, rest = side % factor;
  return (below + (2 * rest > factor || (2 * rest == factor && below % 2 == 1))) * factor;
}

inline void check_ratio(ImageSize size) {
  const double w = size.width, h = size.height;
  if (std::max(w, h) / std::min(w, h) > 200)
    fail("image of ", size.width, " x ", size.height, " pixels: one side is over 200 times the other: crop it");
}

/// "smart_resize": multiples of factor nearest to the size, scaled into [min_pixels, max_pixels].
inline ImageSize smart_resize(ImageSize size, int factor, std::int64_t min_pixels, std::int64_t max_pixels) {
  const double w = size.width, h = size.height;
  check_ratio(size);
  std::int64_t width = round_to_multiple(size.width, factor), height = round_to_multiple(size.height, factor);
  const auto multiple = [&](double side, auto round) {
    return static_cast<std::int64_t>(round(side / factor)) * factor;
  };
  if (width * height > max_pixels) {
    const double beta = std::sqrt(h * w / static_cast<double>(max_pixels));
    const auto floor = [](double x) { return std::floor(x); };
    width = std::max<std::int64_t>(factor, multiple(w / beta, floor));
    height = std::max<std::int64_t>(factor, multiple(h / beta, floor));
  } else if (width * height < min_pixels) {
    const double beta = std::sqrt(static_cast<double>(min_pixels) / (h * w));
    const auto ceil = [](double x) { return std::ceil(x); };
    width = multiple(w * beta, ceil);
    height = multiple(h * beta, ceil);
  }
  return {static_cast<int>(width), static_cast<int>(height)};
}

/// Reads one value if it is there; another type than `wanted` says is an error that names the key.
template <class T>
void read_field(const nlohmann::json& object, const char* key, T& value, const std::string& file,
                const char* wanted = "a number") {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return;
  try {
    it->get_to(value);
  } catch (const nlohmann::json::exception&) {
    fail(file, ": ", key, " is ", it->dump(), ", wanted ", wanted);
  }
}

/// Reads one number per colour channel, if they are there.
inline void read_channels(const nlohmann::json& object, const char* key, std::array<float, 3>& values,
                          const std::string& file) {
  read_field(object, key, values, file, "three numbers");  // of a longer list the beginning
  if (const auto it = object.find(key); it != object.end() && it->is_array() && it->size() != values.size())
    fail(file, ": ", key, " holds ", it->size(), " numbers, wanted ", values.size());
}

/// The image section of a model directory, and the file it came from.
inline std::pair<nlohmann::json, std::string> read_processor_json(const std::filesystem::path& model_dir) {
  std::error_code error;
  const auto nested = model_dir / "processor_config.json", plain = model_dir / "preprocessor_config.json";
  if (std::filesystem::exists(nested, error)) {
    const auto json = io::read_json_object<nlohmann::json>(nested);
    io::check_fields({json, nested.string()}, processor_fields);
    const auto it = json.find("image_processor");
    if (it != json.end() && it->is_object()) return {*it, nested.string()};
  }
  if (std::filesystem::exists(plain, error)) return {io::read_json_object<nlohmann::json>(plain), plain.string()};
  fail(model_dir.string(), ": neither preprocessor_config.json nor processor_config.json with an image_processor: ",
       "copy it from the model's page");
}

/// What no image could go through.
inline void check_processor(const Processor& p, const std::string& file) {
  const auto in_range = [&](const char* key, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most) fail(file, ": ", key, " is ", value, ", wanted ", least, " to ", most);
  };
  in_range("patch_size", p.patch_size, 1, 1024);
  in_range("temporal_patch_size", p.temporal_patch_size, 1, 64);
  in_range("merge_size", p.merge_size, 1, 64);
  in_range("min_pixels (size.shortest_edge)", p.min_pixels, 1, max_image_pixels);
  in_range("max_pixels (size.longest_edge)", p.max_pixels, p.min_pixels, max_image_pixels);
  for (float s : p.std)
    if (!(s > 0)) fail(file, ": image_std holds ", s, ", wanted positive numbers");
}

}  // namespace detail

namespace detail {

/// The limits of the number of pixels. transformers starts from its defaults without `size`, and wants both edges in
/// it.
inline void read_limits(const io::JsonFields& fields, std::int64_t& min_pixels, std::int64_t& max_pixels) {
  const std::string& file = fields.file();
  bool least = !fields.has("size"), most = least;
  const auto read = [&](const nlohmann::json& object, const char* key, std::int64_t& limit, bool& known) {
    known = known || (object.contains(key) && !object[key].is_null());
    read_field(object, key, limit, file);
  };
  if (fields.has("size")) {
    const auto size = fields.object("size");
    io::check_fields(size, size_fields);
    for (const char* key : {"shortest_edge", "min_pixels"}) read(size.json(), key, min_pixels, least);
    for (const char* key : {"longest_edge", "max_pixels"}) read(size.json(), key, max_pixels, most);
  }
  read(fields.json(), "min_pixels", min_pixels, least);
  read(fields.json(), "max_pixels", max_pixels, most);
  if (!least || !most)
    fail(file, ": size has no ", least ? "longest_edge" : "shortest_edge",
         ", wanted shortest_edge and longest_edge: the least and the largest number of pixels");
}

/// The object that describes video processing, and its file: nothing if only the one of images does.
inline std::optional<std::pair<nlohmann::json, std::string>> read_video_json(const std::filesystem::path& model_dir) {
  std::error_code error;
  const auto nested = model_dir / "processor_config.json", plain = model_dir / "video_preprocessor_config.json";
  if (std::filesystem::exists(nested, error)) {
    const auto json = io::read_json_object<nlohmann::json>(nested);
    if (const auto it = json.find("video_processor"); it != json.end() && it->is_object())
      return std::pair{*it, nested.string()};
  }
  if (!std::filesystem::exists(plain, error)) return {};
  return std::pair{io::read_json_object<nlohmann::json>(plain), plain.string()};
}

/// p.video; image: the fields of images, whose limits hold if the folder has none for videos, as in transformers.
/// Frames are cut into the same patches as images.
inline void read_video_part(const std::filesystem::path& model_dir, const io::JsonFields& image, Processor& p) {
  const auto own = read_video_json(model_dir);
  if (!own) return read_limits(image, p.video.min_pixels, p.video.max_pixels);
  const auto& [json, file] = *own;
  const io::JsonFields fields(json, file);
  io::check_fields(fields, video_fields_of(p));
  ProcessorFormat frames = p;
  read_field(json, "patch_size", frames.patch_size, file);
  read_field(json, "temporal_patch_size", frames.temporal_patch_size, file);
  read_field(json, "merge_size", frames.merge_size, file);
  read_channels(json, "image_mean", frames.mean, file);
  read_channels(json, "image_std", frames.std, file);
  if (frames.patch_size != p.patch_size || frames.temporal_patch_size != p.temporal_patch_size ||
      frames.merge_size != p.merge_size || frames.mean != p.mean || frames.std != p.std)
    fail(file, ": patch_size, temporal_patch_size, merge_size, image_mean or image_std of videos differ from those of ",
         image.file(), ": frames are only read as images are");
  read_limits(fields, p.video.min_pixels, p.video.max_pixels);
  read_field(json, "fps", p.video.fps, file);
  read_field(json, "min_frames", p.video.min_frames, file);
  read_field(json, "max_frames", p.video.max_frames, file);
  if (!(p.video.fps > 0) || p.video.min_frames < 1 || p.video.max_frames < p.video.min_frames)
    fail(file, ": fps is ", p.video.fps, ", min_frames ", p.video.min_frames, ", max_frames ", p.video.max_frames,
         ", wanted positive numbers, the last not below the one before");
}

}  // namespace detail

inline Processor Processor::load(const std::filesystem::path& model_dir, const ProcessorFormat& format) {
  if (!format.reads_images()) return {format};
  const auto [json, file] = detail::read_processor_json(model_dir);
  const io::JsonFields fields(json, file);
  io::check_fields(fields, detail::image_fields_of(format));
  Processor p{format};
  detail::read_field(json, "patch_size", p.patch_size, file);
  detail::read_field(json, "temporal_patch_size", p.temporal_patch_size, file);
  detail::read_field(json, "merge_size", p.merge_size, file);
  detail::read_channels(json, "image_mean", p.mean, file);
  detail::read_channels(json, "image_std", p.std, file);
  detail::read_limits(fields, p.min_pixels, p.max_pixels);
  detail::check_processor(p, file);
  if (format.video.video_processor_types != "[]") detail::read_video_part(model_dir, fields, p);
  return p;
}

inline void Processor::require_patches_of(const TowerConfig& tower, const std::filesystem::path& model_dir) const {
  const auto same = [&](const char* key, int mine, const char* field, int its) {
    if (mine != its)
      fail(model_dir.string(), ": ", key, " of the image processor is ", mine, ", vision_config.", field,
           " of config.json is ", its, ": are both files those of the same model?");
  };
  same("patch_size", patch_size, "patch_size", tower.patch_size);
  same("temporal_patch_size", temporal_patch_size, "temporal_patch_size", tower.temporal_patch_size);
  same("merge_size", merge_size, "spatial_merge_size", tower.spatial_merge_size);
}

inline void Processor::set_visual_tokens(VisualTokens of_model, const std::filesystem::path& model_dir) {
  if (of_model.merge != merge_size)
    fail(model_dir.string(), ": merge_size of the image processor is ", merge_size, ", and the model's tower joins ",
         of_model.merge, " x ", of_model.merge, " patches: set both files' sizes to that");
  tokens_per_frame = of_model.per_frame;
}

inline Grid Processor::grid_for(ImageSize size) const {
  detail::check_size(size, "given to the processor");
  const ImageSize resized = detail::smart_resize(size, patch_size * merge_size, min_pixels, max_pixels);
  return {1, resized.height / patch_size, resized.width / patch_size};
}

inline void Processor::write_patches(const Image& image, std::span<float> rows) const {
  write_frames(image, grid_for(image.size()), 0, temporal_patch_size, rows);
}

inline void Processor::write_frames(const Image& image, const Grid& grid, int first, int end,
                                    std::span<float> rows) const {
  const std::size_t length = static_cast<std::size_t>(row_length());
  if (rows.size() != static_cast<std::size_t>(grid.h) * grid.w * length)
    fail("patches: room for ", rows.size(), " values is not that of the grid");
  const ImageSize size{grid.w * patch_size, grid.h * patch_size};
  std::vector<std::uint8_t> resized;
  if (size != image.size()) resized = resize_bicubic<3>(image.rgb, image.size(), size, Resampler::torch);
  const std::uint8_t* rgb = resized.empty() ? image.rgb.data() : resized.data();
  const detail::PatchWriter writer(patch_size, temporal_patch_size, mean, std);
  const int patches_per_block_row = merge_size * grid.w;
  parallel_for(grid.h / merge_size, [&](std::int64_t block_row) {
    for (int i = 0; i < patches_per_block_row; ++i) {
      const int block_column = i / (merge_size * merge_size), inside = i % (merge_size * merge_size);
      const std::size_t y = (block_row * merge_size + inside / merge_size) * patch_size;
      const std::size_t x = static_cast<std::size_t>(block_column * merge_size + inside % merge_size) * patch_size;
      writer.write(rgb + (y * size.width + x) * 3, static_cast<std::size_t>(size.width) * 3,
                   rows.data() + (block_row * patches_per_block_row + i) * length, first, end);
    }
  });
}

inline Grid Processor::append_patches(const Image& image, std::vector<float>& rows) const {
  const Grid grid = grid_for(image.size());
  const std::size_t start = rows.size();
  rows.resize(start + grid.patches() * static_cast<std::size_t>(row_length()));
  write_patches(image, std::span(rows).subspan(start));
  return grid;
}

}  // namespace lamina::vision
