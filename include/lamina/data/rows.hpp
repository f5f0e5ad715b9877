#pragma once
#include <lamina/checkpoint/json.hpp>
#include <lamina/core/error.hpp>
#include <lamina/data/suggest.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::data {

/// One record as its file holds it.
struct Row {
  nlohmann::ordered_json value;  ///< an object
  std::string file;              ///< as messages name it
  std::int64_t number = 0;       ///< from 1: the place in a JSON list, or the line of a JSON-lines file

  std::string origin() const { return cat(file, " row ", number); }
};

namespace detail {

inline std::string read_text_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("dataset: ", path.string(), " cannot be opened");
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // the mark that some Windows editors put in front
  return text;
}

inline void add_row(nlohmann::ordered_json value, const std::string& file, std::int64_t number,
                    std::vector<Row>& rows) {
  if (!value.is_object()) {
    fail("dataset: ", file, " row ", number, " is ", value.type_name(),
         ", a record must be an object {\"key\": value}");
  }
  rows.push_back({std::move(value), file, number});
}

inline void read_json_list(const std::string& text, const std::string& file, std::vector<Row>& rows) {
  nlohmann::ordered_json list;
  try {
    list = checkpoint::parse_json<nlohmann::ordered_json>(text);
  } catch (const nlohmann::ordered_json::exception& error) {
    fail("dataset: ", file, " is not valid JSON: ", error.what());
  }
  std::int64_t number = 0;
  for (auto& value : list) add_row(std::move(value), file, ++number, rows);
}

inline void read_json_lines(std::string_view text, const std::string& file, std::vector<Row>& rows) {
  std::int64_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    nlohmann::ordered_json value;
    try {
      value = checkpoint::parse_json<nlohmann::ordered_json>(line);
    } catch (const nlohmann::ordered_json::exception& error) {
      fail("dataset: ", file, " line ", number, " is not valid JSON: ", error.what(),
           "; the file must be one list [...] of records, or one record a line");
    }
    add_row(std::move(value), file, number, rows);
  }
}

inline void check_extension(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".json" || extension == ".jsonl") return;
  fail("dataset: ", path.string(), ": only .json and .jsonl files are read, this is ",
       extension.empty() ? "a file without extension" : extension, ": convert it to JSON lines");
}

}  // namespace detail

/// Appends the records of a JSON list or of JSON lines. Which of the two is seen from the first sign, not the
/// extension.
inline void read_rows_of_file(const std::filesystem::path& path, std::vector<Row>& rows) {
  detail::check_extension(path);
  const std::string text = detail::read_text_file(path), file = path.string();
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) fail("dataset: ", file, " is empty");
  if (text[first] == '[') {
    detail::read_json_list(text, file, rows);
  } else {
    detail::read_json_lines(text, file, rows);
  }
}

/// All records of a file, or of the files of a folder in the order of their names (hidden files and folders left out).
inline std::vector<Row> read_rows(const std::filesystem::path& path) {
  std::vector<Row> rows;
  if (!std::filesystem::is_directory(path)) {
    if (!std::filesystem::exists(path)) {
      fail("dataset: ", path.string(),
           " does not exist: \"file_name\" in dataset_info.json is relative to dataset_dir");
    }
    read_rows_of_file(path, rows);
    return rows;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with(".")) files.push_back(entry.path());
  }
  if (files.empty()) fail("dataset: the folder ", path.string(), " holds no file");
  std::sort(files.begin(), files.end());
  for (const auto& file : files) read_rows_of_file(file, rows);
  return rows;
}

}  // namespace lamina::data
