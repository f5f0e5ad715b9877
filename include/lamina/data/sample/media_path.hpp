#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace lamina::data {

/// The limits of the resize before the model's own (LLaMA-Factory's image_max_pixels and image_min_pixels), in pixels.
struct ImageLimits {
  std::int64_t max_pixels = 768 * 768, min_pixels = 32 * 32;
};

/// Where a path of a record leads: under media_dir if a file is there, else as it is written.
inline std::filesystem::path resolve_media(const std::filesystem::path& media_dir, const std::string& written) {
  std::error_code none;
  const std::filesystem::path under = media_dir / written;
  return std::filesystem::is_regular_file(under, none) ? under : std::filesystem::path(written);
}

}  // namespace lamina::data
