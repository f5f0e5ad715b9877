#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/json.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/data/read/rows.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::data {

/// The records of a JSON or JSON-lines file as places in it: 16 bytes for each, so that a file may be larger than
/// memory. It must not change meanwhile.
class RowIndex {
 public:
  /// Reads the file once. Records that cannot be read are left out, and named in `wrong`.
  RowIndex(const std::filesystem::path& path, detail::SeenColumns& columns, std::vector<WrongRow>& wrong)
      : file_(path.string()), text_(path) {
    if (detail::file_type(path) != detail::FileType::json)
      fail("streaming: ", file_, ": a column of CSV has a type that all of its values decide: write the records as ",
           "JSON lines, or leave streaming out");
    const std::string_view text = text_.text();
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    is_list_ = first != text.npos && text[first] == '[';
    Places out{places_, columns, wrong};
    detail::read_json_rows(text, file_, out);
  }

  std::int64_t size() const { return std::ssize(places_); }

  /// Record `index`, from 0.
  Row row(std::int64_t index) const {
    const Place& place = places_[static_cast<std::size_t>(index)];
    JsonReader reader(text_.text(), is_list_ ? json_list_rules : json_lines_rules);
    reader.seek(place.begin);
    nlohmann::ordered_json value = reader.value();
    if (value.is_null()) value = nlohmann::ordered_json::object();
    return {std::move(value), file_, place.number};
  }

 private:
  struct Place {
    std::size_t begin;
    std::int64_t number;  // as Row::number
  };

  /// What FileRows is to whole rows.
  struct Places {
    std::vector<Place>& places;
    detail::SeenColumns& columns;
    std::vector<WrongRow>& wrong;

    void add(const nlohmann::ordered_json& value, const std::string& file, std::int64_t number, std::size_t begin) {
      if (auto found = wrong_record(value, file, number)) return wrong.push_back(std::move(*found));
      columns.add(value, file);
      places.push_back({begin, number});
    }
    void add_wrong(const std::string& file, std::int64_t number, std::string message) {
      wrong.push_back({Row{{}, file, number}.origin(), std::move(message)});
    }
  };

  std::string file_;
  detail::RecordText text_;
  bool is_list_ = false;
  std::vector<Place> places_;
};

}  // namespace lamina::data
