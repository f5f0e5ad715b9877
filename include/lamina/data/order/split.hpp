#pragma once
#include <lamina/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::data {

namespace detail {

/// One term of "split": the part [from:to] of the records, in records or in percent of them.
struct SplitTerm {
  std::string name;
  std::optional<std::int64_t> from, to;
  bool percent = false;
  std::string rounding;  ///< "", "closest" or "pct1_dropremainder"
};

/// Reads "train[10%:-5](closest)".
class SplitTermReader {
 public:
  explicit SplitTermReader(std::string_view text) : text_(text), rest_(text) {}

  SplitTerm read() {
    SplitTerm term;
    const std::size_t name_end = std::min(rest_.find_first_of("[("), rest_.size());
    term.name = rest_.substr(0, name_end);
    rest_.remove_prefix(name_end);
    if (take('[')) {
      term.from = bound(term.percent);
      if (!take(':')) wrong();
      term.to = bound(term.percent);
      if (!take(']')) wrong();
    }
    if (take('(')) {
      const std::size_t end = rest_.find(')');
      if (end == rest_.npos || end == 0) wrong();
      term.rounding = rest_.substr(0, end);
      rest_.remove_prefix(end + 1);
    }
    if (!rest_.empty()) wrong();
    check(term);
    return term;
  }

 private:
  [[noreturn]] void wrong() const {
    fail("\"", text_, "\" is not a split; wanted train, train[:100], train[10%:], train[-3:] or a sum of such with +");
  }
  bool take(char sign) {
    if (!rest_.starts_with(sign)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  /// A whole number, as Python writes it: 1_000 is one too. Beyond 18 digits it is only far away.
  std::optional<std::int64_t> bound(bool& percent) {
    const bool negative = take('-');
    const std::size_t end = std::min(rest_.find_first_not_of("0123456789_"), rest_.size());
    std::string digits(rest_.substr(0, end));
    rest_.remove_prefix(end);
    if (digits.empty() && !negative) return std::nullopt;
    if (digits.empty() || digits.front() == '_' || digits.back() == '_' || digits.find("__") != digits.npos) wrong();
    std::erase(digits, '_');
    std::int64_t value = INT64_C(1) << 60;
    if (digits.size() < 19) std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (take('%')) percent = true;
    return negative ? -value : value;
  }
  void check(const SplitTerm& term) const {
    if (!term.rounding.empty() && !term.percent) fail("\"", text_, "\": only a slice in percent has a rounding");
    if (!term.rounding.empty() && term.rounding != "closest" && term.rounding != "pct1_dropremainder") {
      fail("\"", text_, "\": the rounding is closest or pct1_dropremainder");
    }
    for (const auto& bound : {term.from, term.to}) {
      if (term.percent && bound && std::abs(*bound) > 100) fail("\"", text_, "\": percents go from -100 to 100");
    }
  }

  std::string_view text_, rest_;
};

/// Percent to records: the closest number, half to even, or whole hundredths.
inline std::int64_t percent_of(const SplitTerm& term, std::int64_t bound, std::int64_t count) {
  if (term.rounding != "pct1_dropremainder") {
    return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(bound * count) / 100.0));
  }
  if (count < 100) fail("pct1_dropremainder of ", count, " records is always empty: it needs 100 or more");
  return bound * (count / 100);
}

/// A bound of the term as a place in 0 .. count.
inline std::int64_t place_of(const SplitTerm& term, std::optional<std::int64_t> bound, std::int64_t fallback,
                             std::int64_t count) {
  std::int64_t place = !bound ? fallback : term.percent ? percent_of(term, *bound, count) : *bound;
  if (place < 0) place = std::max<std::int64_t>(count + place, 0);
  return std::min(place, count);
}

}  // namespace detail

/// The records that "split" of dataset_info.json takes of `count`, in order: the grammar of the datasets library. A
/// local file has one split, train ("all" is the same). An unknown split and a slice without records are errors.
/// source  datasets, arrow_reader.py (ReadInstruction)
inline std::vector<int> split_slice(const std::string& split, int count) {
  std::vector<detail::SplitTerm> terms;
  for (std::size_t at = 0; at <= split.size();) {
    const std::size_t plus = std::min(split.find('+', at), split.size());
    std::string_view term = std::string_view(split).substr(at, plus - at);
    term.remove_prefix(std::min(term.find_first_not_of(' '), term.size()));
    term = term.substr(0, term.find_last_not_of(' ') + 1);
    terms.push_back(detail::SplitTermReader(term).read());
    at = plus + 1;
  }
  std::vector<int> rows;
  for (const detail::SplitTerm& term : terms) {
    const bool all = term.name == "all" && split == "all";
    if (term.name != "train" && !all) {
      fail("split \"", term.name, "\" is unknown: a local file has the split train; name a part of it with train[:100]",
           " or train[10%:], or give other records their own file");
    }
    const auto kind = [](const detail::SplitTerm& t) { return t.rounding.empty() ? "closest" : t.rounding; };
    if (term.percent && terms.front().percent && kind(term) != kind(terms.front())) {
      fail("\"", split, "\": one sum cannot have two roundings");
    }
    const std::int64_t from = detail::place_of(term, term.from, 0, count);
    const std::int64_t to = detail::place_of(term, term.to, count, count);
    for (std::int64_t row = from; row < to; ++row) rows.push_back(static_cast<int>(row));
  }
  if (rows.empty()) fail("\"", split, "\" takes none of ", count, " records");
  return rows;
}

}  // namespace lamina::data
