#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/grammar.hpp>

namespace lamina::grammar {

/// Numbers with a fixed number of decimals, from one to another, as digits: 0.5 with two decimals is 50.
class DecimalRange {
 public:
  /// Digits of a number, without sign.
  static constexpr int most_digits = 15;
  static constexpr std::int64_t most = 999'999'999'999'999;

  explicit DecimalRange(Grammar& grammar, int decimals = 0) : grammar_(grammar), decimals_(decimals) {}

  /// The numbers low to high, both included, -most to most; nothing if there is none. No number is written as -0.
  std::optional<NodeId> between(std::int64_t low, std::int64_t high) {
    std::vector<NodeId> branches;
    if (low < 0 && low <= high)
      branches.push_back(grammar_.sequence({grammar_.literal("-"), naturals(high < 0 ? -high : 1, -low)}));
    if (high >= 0 && low <= high) branches.push_back(naturals(std::max<std::int64_t>(low, 0), high));
    if (branches.empty()) return {};
    return grammar_.choice(std::move(branches));
  }

 private:
  NodeId naturals(std::int64_t low, std::int64_t high) {
    std::vector<NodeId> branches;
    std::int64_t smallest = 0, largest = power(decimals_ + 1) - 1;  // of this many digits
    for (int digits = decimals_ + 1; digits <= most_digits && smallest <= high; ++digits) {
      const std::int64_t a = std::max(low, smallest), b = std::min(high, largest);
      if (a <= b) branches.push_back(same_length(padded(a, digits), padded(b, digits)));
      smallest = largest + 1, largest = largest * 10 + 9;
    }
    return grammar_.choice(std::move(branches));
  }
  static std::int64_t power(int exponent) {
    std::int64_t value = 1;
    while (exponent-- > 0) value *= 10;
    return value;
  }
  static std::string padded(std::int64_t value, int digits) {
    const std::string text = std::to_string(value);
    return std::string(static_cast<std::size_t>(digits) - text.size(), '0') + text;
  }
  /// Texts of digits between two of the same length.
  NodeId same_length(const std::string& low, const std::string& high) {
    if (low.empty()) return grammar_.empty();
    const std::string rest_low = low.substr(1), rest_high = high.substr(1);
    const std::string zeros(rest_low.size(), '0'), nines(rest_low.size(), '9');
    if (low.front() == high.front()) return with(low.front(), low.front(), rest_low, rest_high);
    std::vector<NodeId> branches;
    char first = low.front(), last = high.front();
    if (rest_low != zeros) branches.push_back(with(first, first, rest_low, nines)), ++first;
    if (rest_high != nines) branches.push_back(with(last, last, zeros, rest_high)), --last;
    if (first <= last) branches.push_back(with(first, last, zeros, nines));
    return grammar_.choice(std::move(branches));
  }
  /// One digit, and texts of more digits between two; the point is where decimals begin.
  NodeId with(char first, char last, const std::string& rest_low, const std::string& rest_high) {
    std::vector<NodeId> parts{grammar_.bytes(digits(first, last))};
    const auto left = static_cast<int>(rest_low.size());
    if (decimals_ > 0 && left == decimals_) parts.push_back(grammar_.literal("."));
    const bool free = std::all_of(rest_low.begin(), rest_low.end(), [](char c) { return c == '0'; }) &&
                      std::all_of(rest_high.begin(), rest_high.end(), [](char c) { return c == '9'; });
    if (!free || left > decimals_)
      parts.push_back(same_length(rest_low, rest_high));
    else
      parts.insert(parts.end(), rest_low.size(), grammar_.bytes(digits('0', '9')));
    return grammar_.sequence(std::move(parts));
  }
  static ByteSet digits(char first, char last) {
    ByteSet set;
    for (char c = first; c <= last; ++c) set.set(static_cast<unsigned char>(c));
    return set;
  }

  Grammar& grammar_;
  int decimals_;
};

}  // namespace lamina::grammar
