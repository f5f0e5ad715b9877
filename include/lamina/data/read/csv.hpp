#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/json.hpp>
#include <lamina/io/lower_case.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lamina::data {

/// One line of a CSV file; a field in quotes may hold newlines.
struct CsvRecord {
  std::vector<std::string> fields;
  std::int64_t line = 0;  ///< on which it begins, from 1
};

/// Splits CSV text into records: RFC 4180, and what pandas, by which the `datasets` library reads CSV, takes beyond it:
/// lines that end with \n, \r\n or \r, quotes in the middle of a field (they are part of it), text after a closing
/// quote, and blank lines, which are passed over.
class CsvReader {
 public:
  explicit CsvReader(std::string_view text) : text_(text) {}

  /// The next record; nothing at the end of the text.
  std::optional<CsvRecord> next() {
    skip_blank_lines();
    if (at_ >= text_.size()) return std::nullopt;
    CsvRecord record{.fields = {}, .line = line_};
    do record.fields.push_back(field());
    while (take(','));
    take_newline();
    return record;
  }

 private:
  bool ends_line() const { return at_ >= text_.size() || text_[at_] == '\n' || text_[at_] == '\r'; }
  bool take(char sign) {
    const bool found = at_ < text_.size() && text_[at_] == sign;
    at_ += found;
    return found;
  }
  void take_newline() {
    const bool newline = take('\r');
    line_ += take('\n') || newline;
  }
  void skip_blank_lines() {
    while (at_ < text_.size()) {
      const std::size_t begin = at_;
      while (take(' ') || take('\t')) continue;
      if (!ends_line()) {
        at_ = begin;
        return;
      }
      take_newline();
    }
  }

  std::string field() {
    std::string out;
    if (take('"')) quoted(out);
    const std::size_t begin = at_;
    while (!ends_line() && text_[at_] != ',') ++at_;
    return out += text_.substr(begin, at_ - begin);
  }

  /// The text after an opening quote, up to and with the closing one; two quotes mean one.
  void quoted(std::string& out) {
    const std::int64_t opened = line_;
    for (;;) {
      const std::size_t end = text_.find('"', at_);
      if (end == text_.npos) fail("line ", opened, ": a quote is opened and never closed");
      out += text_.substr(at_, end - at_);
      line_ += std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                          text_.begin() + static_cast<std::ptrdiff_t>(end), '\n');
      at_ = end + 1;
      if (!take('"')) return;
      out += '"';
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
};

namespace detail {

/// Fields that pandas reads as "no value", also in quotes.
inline bool is_csv_null(std::string_view field) {
  static constexpr std::string_view words[] = {"",     "#N/A",   "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN",
                                               "-nan", "1.#IND", "1.#QNAN",  "<NA>", "N/A",     "NA",       "NULL",
                                               "NaN",  "None",   "n/a",      "nan",  "null"};
  return std::find(std::begin(words), std::end(words), field) != std::end(words);
}

inline std::string_view trimmed(std::string_view field) {
  const std::size_t begin = std::min(field.find_first_not_of(" \t"), field.size());
  return field.substr(begin, field.find_last_not_of(" \t") + 1 - begin);
}

using CsvJson = nlohmann::ordered_json;

/// The field as a whole number of 64 bits.
inline std::optional<CsvJson> csv_integer(std::string_view field) {
  field = trimmed(field);
  if (field.starts_with('+') && !field.starts_with("+-")) field.remove_prefix(1);
  std::int64_t value = 0;
  std::uint64_t large = 0;
  const char* end = field.data() + field.size();
  if (const auto read = std::from_chars(field.data(), end, value); read.ec == std::errc() && read.ptr == end)
    return value;
  if (const auto read = std::from_chars(field.data(), end, large); read.ec == std::errc() && read.ptr == end)
    return large;
  return std::nullopt;
}

/// The field as a number: decimal digits, with a point and an exponent at will, or inf; but no whole number beyond 64
/// bits, which pandas leaves text.
inline std::optional<CsvJson> csv_real(std::string_view field) {
  field = trimmed(field);
  const std::string lower = io::lower_case(std::string(field.starts_with('+') ? field.substr(1) : field));
  const std::string_view word = std::string_view(lower).substr(lower.starts_with('-'));
  const bool infinite = word == "inf" || word == "infinity";
  if (word.empty() || (!infinite && word.find_first_not_of("0123456789.e+-") != word.npos)) return std::nullopt;
  if (!infinite && word.find_first_of(".e") == word.npos && !csv_integer(field)) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(lower.c_str(), &end);
  return *end == '\0' ? std::optional<CsvJson>(value) : std::nullopt;
}

inline std::optional<CsvJson> csv_boolean(std::string_view field) {
  if (field == "True" || field == "TRUE" || field == "true") return true;
  if (field == "False" || field == "FALSE" || field == "false") return false;
  return std::nullopt;
}

/// How the values of one column are read: as the narrowest of these kinds that takes all of them, else as text.
using CsvKind = std::optional<CsvJson> (*)(std::string_view);
inline CsvKind csv_kind(const std::vector<CsvRecord>& records, std::size_t column) {
  bool has_null = false;
  for (const CsvRecord& record : records) has_null |= is_csv_null(record.fields[column]);
  for (const CsvKind kind : {&csv_integer, &csv_real, &csv_boolean}) {
    if (kind == &csv_integer && has_null) continue;  // whole numbers next to "no value" are reals, as in pandas
    const bool all = std::all_of(records.begin(), records.end(), [&](const CsvRecord& record) {
      return is_csv_null(record.fields[column]) || kind(record.fields[column]);
    });
    if (all) return kind;
  }
  return [](std::string_view field) { return std::optional<CsvJson>(std::string(field)); };
}

/// The names of the columns: an empty one is numbered, a repeated one gets .1, .2 and so on.
inline std::vector<std::string> csv_names(const std::vector<std::string>& header) {
  std::vector<std::string> names;
  std::unordered_map<std::string, int> times;  // how often a name is taken
  for (const std::string& field : header) {
    const std::string name = field.empty() ? cat("Unnamed: ", names.size()) : field;
    std::string free = name;
    while (times.contains(free)) free = cat(name, ".", times[name]++);
    times[free] = 1;
    names.push_back(free);
  }
  return names;
}

}  // namespace detail

/// A record of a CSV file that is wrong, and why.
struct CsvWrong {
  std::int64_t line = 0;
  std::string message;
};

/// A CSV file as the `datasets` library reads it: the first line names the columns, a column whose values are all
/// numbers or all true and false holds these, any other holds text, and an empty field is null.
class CsvTable {
 public:
  explicit CsvTable(std::string_view text) {
    CsvReader reader(text);
    auto header = reader.next();
    if (!header) return;
    names_ = detail::csv_names(header->fields);
    while (auto record = reader.next()) {
      if (record->fields.size() > names_.size()) {
        wrong_.push_back({record->line, cat(record->fields.size(), " fields, the first line names ", names_.size(),
                                            ": put a field that holds a comma into quotes")});
        continue;
      }
      record->fields.resize(names_.size());  // those left out at the end are empty
      records_.push_back(std::move(*record));
    }
    for (std::size_t column = 0; column < names_.size(); ++column) {
      kinds_.push_back(detail::csv_kind(records_, column));
    }
  }

  std::size_t size() const { return records_.size(); }
  std::int64_t line(std::size_t row) const { return records_[row].line; }
  const std::vector<CsvWrong>& wrong() const { return wrong_; }

  /// The row as an object.
  nlohmann::ordered_json row(std::size_t row) const {
    JsonMembers members;
    for (std::size_t column = 0; column < names_.size(); ++column) {
      const std::string& field = records_[row].fields[column];
      members.emplace_back(names_[column], detail::is_csv_null(field) ? detail::CsvJson() : *kinds_[column](field));
    }
    return json_object(std::move(members));
  }

 private:
  std::vector<std::string> names_;
  std::vector<CsvRecord> records_;
  std::vector<detail::CsvKind> kinds_;
  std::vector<CsvWrong> wrong_;
};

}  // namespace lamina::data
