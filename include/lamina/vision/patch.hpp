#pragma once
#include <lamina/vision/resize/simd.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace lamina::vision::detail {

/// Cuts 8-bit RGB images into normalised patches, one pass from bytes to fp32.
///
///     y[c] = (x[c] - 255 * mean[c]) / (255 * std[c])        x in 0..255, each operation rounded to fp32
class PatchWriter {
 public:
  /// frames: of a patch (temporal_patch_size).
  PatchWriter(int patch_size, int frames, const std::array<float, 3>& mean, const std::array<float, 3>& std)
      : size_(patch_size), frames_(frames), avx2_(has_avx2() && patch_size >= 8) {
    for (int c = 0; c < 3; ++c) {
      shift_[c] = mean[c] * 255.0f;
      unit_[c] = std[c] * 255.0f;
      for (int x = 0; x < 256; ++x) level_[c][x] = (static_cast<float>(x) - shift_[c]) / unit_[c];
    }
  }

  /// The frames [first, end) of a patch that all show what begins at rgb, (patch_size, patch_size, 3) in rows
  /// `row_bytes` apart. patch: (3, frames, patch_size, patch_size).
  void write(const std::uint8_t* rgb, std::size_t row_bytes, float* patch, int first, int end) const {
#if defined(LAMINA_VISION_AVX2)
    if (avx2_) return write_avx2(rgb, row_bytes, patch, first, end);
#endif
    const std::size_t frame = static_cast<std::size_t>(size_) * size_;
    for (int c = 0; c < 3; ++c, patch += frames_ * frame) {
      float* const to = patch + first * frame;
      for (int y = 0; y < size_; ++y)
        for (int x = 0; x < size_; ++x) to[y * size_ + x] = level_[c][rgb[y * row_bytes + 3 * x + c]];
      for (int t = first + 1; t < end; ++t) std::copy(to, to + frame, patch + t * frame);
    }
  }

 private:
#if defined(LAMINA_VISION_AVX2)
  /// Eight pixels at a time; the last eight of a row overlap those before if patch_size is no multiple of eight.
  LAMINA_VISION_AVX2 void write_avx2(const std::uint8_t* rgb, std::size_t row_bytes, float* patch, int first,
                                     int end) const {
    const std::size_t frame = static_cast<std::size_t>(size_) * size_;
    const __m256 shift[3] = {_mm256_set1_ps(shift_[0]), _mm256_set1_ps(shift_[1]), _mm256_set1_ps(shift_[2])};
    const __m256 unit[3] = {_mm256_set1_ps(unit_[0]), _mm256_set1_ps(unit_[1]), _mm256_set1_ps(unit_[2])};
    // Where the bytes of a channel are in bytes 0 to 15 and 8 to 23 of eight pixels; -1 means zero.
    const __m128i red_low = _mm_setr_epi8(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i red_high = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i green_low = _mm_setr_epi8(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i green_high = _mm_setr_epi8(-1, -1, -1, -1, -1, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i blue_low = _mm_setr_epi8(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i blue_high = _mm_setr_epi8(-1, -1, -1, -1, -1, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i low_bytes[3] = {red_low, green_low, blue_low}, high_bytes[3] = {red_high, green_high, blue_high};
    for (int y = 0; y < size_; ++y) {
      for (int x = 0; x < size_; x += 8) {
        x = std::min(x, size_ - 8);
        const std::uint8_t* from = rgb + y * row_bytes + 3 * x;
        const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8));
        float* to = patch + y * size_ + x;
#pragma GCC unroll 3
        for (int c = 0; c < 3; ++c) {
          const __m128i bytes =
              _mm_or_si128(_mm_shuffle_epi8(low, low_bytes[c]), _mm_shuffle_epi8(high, high_bytes[c]));
          const __m256 levels = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
          const __m256 values = _mm256_div_ps(_mm256_sub_ps(levels, shift[c]), unit[c]);
          for (int t = first; t < end; ++t) _mm256_storeu_ps(to + (c * frames_ + t) * frame, values);
        }
      }
    }
  }
#endif

  int size_, frames_;
  bool avx2_;
  std::array<float, 3> shift_, unit_;
  std::array<std::array<float, 256>, 3> level_;
};

}  // namespace lamina::vision::detail
