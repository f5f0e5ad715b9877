#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/suggest.hpp>

namespace lamina::data {

/// " (did you mean x?)" for the nearest of the known words, or "" if none is near.
inline std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string nearest = suggest(word, known);
  return nearest.empty() ? "" : " (did you mean " + nearest + "?)";
}

/// "a, b, c"; after `most` words, "... (n in all)".
inline std::string listed(const std::vector<std::string>& words, std::size_t most) {
  std::string out;
  for (std::size_t i = 0; i < std::min(most, words.size()); ++i) out.append(i ? ", " : "").append(words[i]);
  if (words.size() > most) out += ", ... (" + std::to_string(words.size()) + " in all)";
  return out;
}

}  // namespace lamina::data
