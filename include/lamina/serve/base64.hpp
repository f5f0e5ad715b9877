#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lamina::serve {

/// Decodes RFC 4648's standard alphabet with correct padding; ASCII white space is skipped. Nothing where the text is
/// anything else, also where bits are left over that are not zero.
inline std::optional<std::vector<std::uint8_t>> decode_base64(std::string_view text) {
  const auto value_of = [](char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  std::vector<std::uint8_t> out;
  out.reserve(text.size() / 4 * 3 + 3);
  std::uint32_t bits = 0;
  int held = 0, padding = 0;  // characters of the current group of four
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v') continue;
    if (c == '=') {
      if (held + ++padding > 4 || held < 2) return {};
      continue;
    }
    const int value = value_of(c);
    if (value < 0 || padding) return {};
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if (++held == 4) {
      for (const int shift : {16, 8, 0}) out.push_back(static_cast<std::uint8_t>(bits >> shift));
      bits = 0;
      held = 0;
    }
  }
  if (held == 0) return padding ? std::nullopt : std::optional(out);
  if (held + padding != 4 || held == 1) return {};
  const int spare = held == 2 ? 4 : 2;
  if (bits & ((1u << spare) - 1)) return {};
  bits >>= spare;
  for (int i = held - 2; i >= 0; --i) out.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
  return out;
}

}  // namespace lamina::serve
