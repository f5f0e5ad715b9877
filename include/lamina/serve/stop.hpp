#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::serve {

/// Finds stop strings in text that arrives in pieces. What it gives out never contains a stop string nor the beginning
/// of one that may still be completed, and does not depend on how the text was cut into pieces: the match that ends
/// first wins, of those the one that starts first.
class StopMatcher {
 public:
  /// include: the stop string itself is part of the output.
  explicit StopMatcher(std::vector<std::string> stops, bool include = false)
      : stops_(std::move(stops)), include_(include) {
    std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
  }

  /// Takes more text, gives what is certain. After a match it gives nothing more.
  std::string push(std::string_view piece) {
    if (matched_) return {};
    held_ += piece;
    if (const auto match = find_match()) {
      matched_ = match->stop;
      held_.resize(include_ ? match->end : match->start);
      return std::exchange(held_, {});
    }
    const std::size_t certain = held_.size() - candidate_length();
    std::string out = held_.substr(0, certain);
    held_.erase(0, certain);
    return out;
  }

  /// The text has ended: gives what was held back.
  std::string finish() { return std::exchange(held_, {}); }

  /// The stop string that was found.
  const std::optional<std::string>& matched() const { return matched_; }

 private:
  struct Match {
    std::size_t start, end;
    std::string stop;
  };
  std::optional<Match> find_match() const {
    std::optional<Match> best;
    for (const auto& stop : stops_) {
      const std::size_t start = held_.find(stop);
      if (start == std::string::npos) continue;
      const std::size_t end = start + stop.size();
      if (!best || end < best->end || (end == best->end && start < best->start)) best = Match{start, end, stop};
    }
    return best;
  }
  /// Length of the longest tail of the held text that begins a stop string. Stop strings begin with a whole
  /// character, so a cut here never falls inside one.
  std::size_t candidate_length() const {
    std::size_t longest = 0;
    for (const auto& stop : stops_)
      for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n)
        if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) longest = n;
    return longest;
  }

  std::vector<std::string> stops_;
  bool include_;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace lamina::serve
