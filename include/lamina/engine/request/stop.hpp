#pragma once
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::engine {
namespace detail {

/// One stop string and how much of it the text so far ends with. Time in proportion to the text, whatever both hold.
/// source  Knuth, Morris and Pratt 1977, "Fast pattern matching in strings"
class StopString {
 public:
  /// Not empty.
  explicit StopString(std::string text) : text_(std::move(text)), shorter_(text_.size()) {
    for (std::size_t i = 1, length = 0; i < text_.size(); ++i) shorter_[i] = length = longer(length, text_[i]);
  }
  /// Takes a byte; tells whether the string is complete with it. Not to be called after that.
  bool push(char c) { return (length_ = longer(length_, c)) == text_.size(); }
  /// Length of the longest tail of the text that begins the string.
  std::size_t length() const { return length_; }
  const std::string& text() const { return text_; }

 private:
  /// The longest beginning that ends with c, if a beginning of this length came before it.
  std::size_t longer(std::size_t length, char c) const {
    while (length > 0 && text_[length] != c) length = shorter_[length - 1];
    return text_[length] == c ? length + 1 : 0;
  }
  std::string text_;
  std::vector<std::size_t> shorter_;  // of its first i + 1 bytes, the longest beginning that they also end with
  std::size_t length_ = 0;
};

}  // namespace detail

/// Finds stop strings in text that arrives in pieces. The text that it returns never contains a stop string nor the
/// beginning of one that may still be completed, and does not depend on how the text was cut into pieces: the match
/// that ends first wins, of those the one that starts first.
class StopMatcher {
 public:
  /// include: the stop string itself is part of the output.
  explicit StopMatcher(std::vector<std::string> stops, bool include = false) : include_(include) {
    for (auto& stop : stops)
      if (!stop.empty()) stops_.emplace_back(std::move(stop));
  }

  /// Takes more text, returns the text that is certain. After a match it returns nothing more.
  std::string push(std::string_view piece) {
    if (matched_) return {};
    for (const char c : piece) {
      held_ += c;
      if (const auto* stop = match_after(c)) {
        matched_ = stop->text();
        if (!include_) held_.resize(held_.size() - stop->text().size());
        return std::exchange(held_, {});
      }
    }
    // Stop strings begin with a whole character, so a cut here never falls inside one.
    std::size_t candidate = 0;
    for (const auto& stop : stops_) candidate = std::max(candidate, stop.length());
    std::string out = held_.substr(0, held_.size() - candidate);
    held_.erase(0, out.size());
    return out;
  }

  /// The text has ended: returns the text that was held back.
  std::string finish() { return std::exchange(held_, {}); }

  /// The stop string that was found.
  const std::optional<std::string>& matched() const { return matched_; }

 private:
  /// The longest stop string that is complete with c.
  const detail::StopString* match_after(char c) {
    const detail::StopString* longest = nullptr;
    for (auto& stop : stops_)
      if (stop.push(c) && (!longest || stop.text().size() > longest->text().size())) longest = &stop;
    return longest;
  }

  std::vector<detail::StopString> stops_;
  bool include_;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace lamina::engine
