#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/csv.hpp>
#include <lamina/data/read/json.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::data {

/// One record as its file holds it.
struct Row {
  nlohmann::ordered_json value;  ///< an object
  std::string file;              ///< as messages name it
  std::int64_t number = 0;       ///< from 1: the place in a JSON list, or the line of a JSON-lines or CSV file

  std::string origin() const { return cat(file, " row ", number); }
};

/// A record that cannot be read.
struct WrongRow {
  std::string origin, message;
};

/// What is wrong with a record that is no object.
inline std::optional<WrongRow> wrong_record(const nlohmann::ordered_json& value, const std::string& file,
                                            std::int64_t number) {
  if (value.is_object()) return std::nullopt;
  return WrongRow{Row{{}, file, number}.origin(),
                  cat("the record is ", value.type_name(), ", wanted an object {\"key\": value}")};
}

/// The records of a file or folder.
struct FileRows {
  std::vector<Row> rows;
  std::vector<WrongRow> wrong;

  /// The record that begins at this byte of the file.
  void add(nlohmann::ordered_json value, const std::string& file, std::int64_t number, std::size_t /*begin*/) {
    if (auto found = wrong_record(value, file, number)) return wrong.push_back(std::move(*found));
    rows.push_back({std::move(value), file, number});
  }
  void add_wrong(const std::string& file, std::int64_t number, std::string message) {
    wrong.push_back({Row{{}, file, number}.origin(), std::move(message)});
  }
};

namespace detail {

/// The largest file that is one JSON list or a table of CSV, whose records are known only when all of it was read.
/// JSON lines may be of any size; JsonReader bounds each record.
inline constexpr std::uint64_t most_list_bytes = std::uint64_t{4} << 30;

inline void require_list_bytes(std::string_view text, const std::string& file, std::string_view form) {
  if (text.size() > most_list_bytes)
    fail("dataset: ", file, " has ", text.size(), " bytes, ", form, " may have ", most_list_bytes,
         ": write the records as JSON lines, one per line");
}

/// One list [...] of records. If it is broken, no record of it is sure. Rows: what add() and add_wrong() of FileRows
/// take, here and below.
template <class Rows>
void read_json_list(std::string_view text, const std::string& file, Rows& out) {
  require_list_bytes(text, file, "one JSON list");
  JsonReader reader(text, json_list_rules);
  try {
    std::int64_t number = 0;
    reader.take('[');
    if (!reader.take(']')) {
      do {
        const std::size_t begin = reader.at();
        out.add(reader.value(), file, ++number, begin);
      } while (reader.take(','));
      if (!reader.take(']')) reader.wrong("a comma or ]");
    }
    if (reader.more()) reader.wrong("nothing after the list");
  } catch (const Error& error) {
    fail("dataset: ", file, " is not valid JSON: ", error.what());
  }
}

/// Records one after another, mostly one per line. After a broken one, reading goes on at the next line that begins
/// with an object.
template <class Rows>
void read_json_lines(std::string_view text, const std::string& file, Rows& out) {
  JsonReader reader(text, json_lines_rules);
  while (reader.more()) {
    const std::size_t begin = reader.at();
    const std::int64_t line = reader.line_of(begin);
    try {
      nlohmann::ordered_json value = reader.value();
      if (value.is_null()) value = nlohmann::ordered_json::object();  // a record without any value
      out.add(std::move(value), file, line, begin);
    } catch (const Error& error) {
      out.add_wrong(file, line, cat("not valid JSON: ", error.what()));
      const std::size_t next = text.find("\n{", begin);
      reader.seek(next == text.npos ? text.size() : next + 1);
    }
  }
}

/// A file of JSON: a list or JSON lines. Which of the two is seen from the first sign, not from the extension.
template <class Rows>
void read_json_rows(std::string_view text, const std::string& file, Rows& out) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) fail("dataset: ", file, " is empty");
  if (text[first] == '\0') fail("dataset: ", file, " begins with a NUL byte: is it text, and its download complete?");
  if (text[first] == '[') {
    read_json_list(text, file, out);
  } else {
    read_json_lines(text, file, out);
  }
}

inline void read_csv_rows(std::string_view text, const std::string& file, FileRows& out) {
  require_list_bytes(text, file, "CSV");
  if (text.find('\0') != text.npos || !io::is_valid_utf8(text)) {
    fail("dataset: ", file, " is not text in UTF-8: write the file in that encoding");
  }
  try {
    const CsvTable table(text);
    for (std::size_t row = 0; row < table.size(); ++row) out.add(table.row(row), file, table.line(row), 0);
    for (const CsvWrong& wrong : table.wrong()) out.add_wrong(file, wrong.line, wrong.message);
  } catch (const Error& error) {
    fail("dataset: ", file, " is not valid CSV: ", error.what());
  }
}

/// The type of a file by its extension, or an error that says how the file becomes one that is read.
enum class FileType { json, csv };
inline FileType file_type(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".json" || extension == ".jsonl") return FileType::json;
  if (extension == ".csv") return FileType::csv;
  if (extension == ".parquet" || extension == ".arrow") {
    const std::string_view type = extension == ".parquet" ? "parquet" : "arrow";
    fail("dataset: ", path.string(), ": ", extension,
         " files are not read: write the records as JSON lines, with images",
         " as files and their paths in the records. Without images: python -c \"import datasets; "
         "datasets.load_dataset('",
         type, "', data_files='", path.filename().string(), "', split='train').to_json('", path.stem().string(),
         ".jsonl', force_ascii=False)\"");
  }
  fail("dataset: ", path.string(), ": .json, .jsonl and .csv files are read, this is ",
       extension.empty() ? "a file without extension" : extension, ": write the records as JSON lines");
}

/// The text of a file of records. A large file takes no memory of its own; it must not shrink meanwhile.
class RecordText {
 public:
  explicit RecordText(const std::filesystem::path& path) : file_(path), mapping_(file_) {
    text_ = {reinterpret_cast<const char*>(mapping_.bytes().data()), mapping_.bytes().size()};
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);  // the mark that some Windows editors put in front
    io::refuse_lfs_pointer(path, text_);
  }
  std::string_view text() const { return text_; }

 private:
  io::File file_;
  io::Mapping mapping_;
  std::string_view text_;
};

inline void read_rows_of_file(const std::filesystem::path& path, FileRows& out) {
  const FileType type = file_type(path);
  const RecordText file(path);
  type == FileType::csv ? read_csv_rows(file.text(), path.string(), out)
                        : read_json_rows(file.text(), path.string(), out);
}

/// The files of a folder in the order of their names, hidden files and folders left out. All are of one type.
inline std::vector<std::filesystem::path> files_of(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with(".")) files.push_back(entry.path());
  }
  if (files.empty()) fail("dataset: the folder ", folder.string(), " holds no file");
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    if (file_type(file) == file_type(files.front())) continue;
    fail("dataset: the folder ", folder.string(), " holds ", files.front().filename().string(), " and ",
         file.filename().string(), ": all files of a data set must have one type");
  }
  return files;
}

}  // namespace detail

/// The files of records that a path names: itself, or those of the folder.
inline std::vector<std::filesystem::path> record_files(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return detail::files_of(path);
  if (!std::filesystem::exists(path)) {
    fail("dataset: ", path.string(), " does not exist: \"file_name\" in dataset_info.json is relative to dataset_dir");
  }
  return {path};
}

/// All records of these files, in this order: JSON as the `datasets` library reads it, or CSV.
/// Values are not forced into one type per column, and text that looks like a date stays text.
/// source  datasets, packaged_modules/json/json.py, csv/csv.py
inline FileRows read_rows(const std::vector<std::filesystem::path>& files) {
  FileRows out;
  for (const auto& file : files) detail::read_rows_of_file(file, out);
  return out;
}
/// All records of a file, or of the files of a folder.
inline FileRows read_rows(const std::filesystem::path& path) { return read_rows(record_files(path)); }

}  // namespace lamina::data
