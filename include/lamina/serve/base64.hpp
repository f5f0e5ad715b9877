#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <openssl/evp.h>

namespace lamina::serve {

/// Decodes RFC 4648's standard alphabet with correct padding; ASCII white space is skipped. Nothing if the text is
/// anything else, also if bits are left over that are not zero: OpenSSL lets some of that pass, so the bytes that it
/// returns must encode to the same text again.
inline std::optional<std::vector<std::uint8_t>> decode_base64(std::string_view text) {
  constexpr std::size_t block = 4096;  // characters
  std::array<std::uint8_t, block> group;
  std::array<std::uint8_t, block + 1> again;  // EVP_EncodeBlock adds a zero
  std::vector<std::uint8_t> out;
  out.reserve(text.size() / 4 * 3 + 3);
  bool padded = false;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t size = 0;
    for (; at < text.size() && size < block; ++at)
      if (std::string_view(" \t\n\r\f\v").find(text[at]) == text.npos)
        group[size++] = static_cast<std::uint8_t>(text[at]);
    if (size == 0) break;
    if (padded || size % 4 != 0) return {};
    const std::size_t padding = group[size - 1] != '=' ? 0 : group[size - 2] != '=' ? 1 : 2, begin = out.size();
    out.resize(begin + size / 4 * 3);
    if (EVP_DecodeBlock(&out[begin], group.data(), static_cast<int>(size)) < 0) return {};
    out.resize(out.size() - padding);
    const int encoded = EVP_EncodeBlock(again.data(), &out[begin], static_cast<int>(out.size() - begin));
    if (!std::equal(again.begin(), again.begin() + encoded, group.begin(), group.begin() + static_cast<int>(size)))
      return {};
    padded = padding > 0;
  }
  return out;
}

}  // namespace lamina::serve
