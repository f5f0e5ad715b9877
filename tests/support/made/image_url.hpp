#pragma once
#include <string>

namespace lamina::testing {

/// A BMP of one colour, as a data: URL.
inline std::string image_url(int width, int height, unsigned seed) {
  const int row = (3 * width + 3) / 4 * 4, size = 54 + row * height;
  std::string bmp(static_cast<std::size_t>(size), static_cast<char>(seed * 37));
  const auto put = [&](std::size_t at, int value) {
    for (int i = 0; i < 4; ++i) bmp[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> 8 * i);
  };
  bmp[0] = 'B', bmp[1] = 'M';
  put(2, size), put(6, 0), put(10, 54), put(14, 40), put(18, width), put(22, height), put(26, 1 | 24 << 16);
  for (std::size_t at = 30; at < 54; at += 4) put(at, 0);
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bmp.size(); i += 3) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bmp.size() ? static_cast<unsigned char>(bmp[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) text += i + k > bmp.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
  }
  return "data:image/bmp;base64," + text;
}

}  // namespace lamina::testing
