#pragma once
#include "tables/image.hpp"

#include <lamina/core/error.hpp>

#include <filesystem>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#include <stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace images {

/// As PNG, or as JPEG of a quality of 1 to 100 if one is given.
inline void write_image(const std::filesystem::path& path, const tables::Canvas& canvas, int jpeg_quality = 0) {
  const std::string name = path.string();
  const int ok = jpeg_quality
                     ? stbi_write_jpg(name.c_str(), canvas.width, canvas.height, 3, canvas.rgb.data(), jpeg_quality)
                     : stbi_write_png(name.c_str(), canvas.width, canvas.height, 3, canvas.rgb.data(), 0);
  if (!ok) lamina::fail(name, ": cannot be written: is the folder writable and the disk not full?");
}

}  // namespace images
