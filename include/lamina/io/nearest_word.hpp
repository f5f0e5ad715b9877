#pragma once
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::io {

/// Edits (insert, delete, replace, swap of neighbours) that turn a into b: Damerau's distance, restricted form.
inline int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

/// The known word nearest to a misspelt one, or "" if none is near enough to be meant: at most a third of the word's
/// letters (and at least one) may differ. A known word that begins with the given one is as near as one edit: user for
/// user_tag. The first of equally near words wins. known: a range of strings or views.
template <class Words>
std::string nearest_word(std::string_view word, const Words& known) {
  int best = std::max<int>(1, static_cast<int>(word.size()) / 3) + 1;
  std::string_view nearest;
  for (const std::string_view candidate : known) {
    const bool begins = word.size() > 2 && candidate.starts_with(word);
    const int distance =
        begins ? std::min(1, static_cast<int>(candidate.size() - word.size())) : edit_distance(word, candidate);
    if (distance < best) best = distance, nearest = candidate;
  }
  return std::string(nearest);
}

/// " (did you mean x?)" for a message about a word that is not known, or "" if no known word is near.
template <class Words>
std::string did_you_mean(std::string_view word, const Words& known) {
  const std::string nearest = nearest_word(word, known);
  return nearest.empty() ? "" : " (did you mean " + nearest + "?)";
}

/// "a, b, c"; after `limit` words, "... (n in all)". words: a sized range of strings or views.
template <class Words>
std::string listed(const Words& words, std::size_t limit = std::numeric_limits<std::size_t>::max()) {
  std::string out;
  std::size_t i = 0;
  for (const std::string_view word : words) {
    if (i == limit) break;
    out.append(i++ ? ", " : "").append(word);
  }
  if (std::size(words) > limit) out += ", ... (" + std::to_string(std::size(words)) + " in all)";
  return out;
}

}  // namespace lamina::io
