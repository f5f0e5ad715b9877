#pragma once
#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::data {

/// Letters to insert, delete or replace to make one word of the other (Levenshtein).
inline int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    int diagonal = std::exchange(row[0], static_cast<int>(i));
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

/// " (did you mean x?)" for the nearest of the known words, or nothing where none is near. A known word that begins
/// with the given one is near: user for user_tag.
inline std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string* best = nullptr;
  int best_distance = static_cast<int>(word.size()) / 3 + 2;
  for (const std::string& candidate : known) {
    const bool begins = word.size() > 2 && candidate.starts_with(word);
    const int distance = begins ? 1 : edit_distance(word, candidate);
    if (distance < best_distance) best = &candidate, best_distance = distance;
  }
  if (!best) return "";
  std::string out = " (did you mean ";
  return out.append(*best).append("?)");
}

/// "a, b, c"; after `most` words, "... (n in all)".
inline std::string listed(const std::vector<std::string>& words, std::size_t most) {
  std::string out;
  for (std::size_t i = 0; i < std::min(most, words.size()); ++i) out.append(i ? ", " : "").append(words[i]);
  if (words.size() > most) out += ", ... (" + std::to_string(words.size()) + " in all)";
  return out;
}

}  // namespace lamina::data
