#pragma once
#include <fmt/format.h>
#include <algorithm>
#include <cstdint>
#include <string>

#include <lamina/core/error.hpp>

namespace lamina::io {

/// A duration as Python's timedelta prints it: "0:00:31", "1 day, 2:03:04".
inline std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(0.0, seconds));
  const std::int64_t days = whole / 86'400;
  return (days == 0 ? "" : cat(days, days == 1 ? " day, " : " days, ")) +
         fmt::format("{}:{:02}:{:02}", whole % 86'400 / 3600, whole % 3600 / 60, whole % 60);
}

/// A duration as a progress bar shows it: "01:23", "1:02:03".
inline std::string bar_clock(double seconds) {
  const std::string text = clock_text(seconds);
  return text.rfind("0:", 0) == 0 ? text.substr(2) : text;
}

/// " 42%|████▏     |", of a share in [0, 1].
inline std::string bar_of(double share, int width = 10) {
  static constexpr const char* eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int filled = static_cast<int>(share * width * 8);
  std::string bar;
  for (int i = 0; i < filled / 8; ++i) bar += "█";
  bar += eighths[filled % 8];
  for (int i = (filled + 7) / 8; i < width; ++i) bar += " ";
  return fmt::format("{:3}%|{}|", static_cast<int>(share * 100), bar);
}

}  // namespace lamina::io
