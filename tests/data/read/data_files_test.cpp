#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/order/split.hpp>
#include <lamina/data/read/rows.hpp>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

std::string bytes_of(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

/// A value as the golden file writes it: numbers by their value, those that JSON does not know as words.
Json plain(const Json& value) {
  if (value.is_number()) {
    const double number = value.get<double>();
    if (std::isfinite(number)) return number;
    return std::isnan(number) ? "<nan>" : number < 0 ? "<-inf>" : "<inf>";
  }
  Json out = value;
  for (Json& item : out)
    if (value.is_structured()) item = plain(item);
  return out;
}

/// The rows of a file, or null for an error.
Json rows_of(const std::string& kind, const std::string& text) {
  const Folder folder;
  Json out = Json::array();
  try {
    FileRows file = read_rows(folder.write("x." + kind, text));
    if (!file.wrong.empty() || file.rows.empty()) return nullptr;
    for (const Row& row : file.rows) out.push_back(plain(row.value));
  } catch (const Error&) {
    return nullptr;
  }
  return out;
}

/// Whether all values are the same. A key that a row lacks is null in the table that the library makes.
bool same(const Json& ours, const Json& theirs) {
  if (ours.is_null() || theirs.is_null()) return ours.is_null() && theirs.is_null();
  if (ours.size() != theirs.size()) return false;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    for (const auto& [key, value] : theirs[i].items()) {
      if (plain(value) != (ours[i].contains(key) ? ours[i][key] : Json())) return false;
    }
    for (const auto& [key, value] : ours[i].items())
      if (!theirs[i].contains(key)) return false;
  }
  return true;
}

/// Where we differ on purpose: the values that are read here, and why. Null: refused.
const std::map<std::string, Json> differences = {
    {"mark in front of a list", {{{"k", 1}}, {{"k", 2}}}},             // the mark says nothing about lists
    {"two types in lines", {{{"k", 1}}, {{"k", "x"}}}},                // columns have no types here
    {"two types in a list", {{{"k", 1}}, {{"k", "x"}}}},               //
    {"large number in a list", {{{"k", 12345678901234567890123.0}}}},  // as in lines
    {"date in lines", {{{"k", "2020-01-02"}}}},                        // text stays text
    {"list of strings", nullptr},                                      // a text alone has no answer to train on
    {"null as an item", nullptr},
};

}  // namespace

TEST_CASE("Data files: JSON and CSV are read as the datasets library reads them") {
  const Json files = read_json(golden("files.json"));
  for (const auto& [kind, cases] : files.items()) {
    for (const Json& c : cases) {
      INFO(kind << ": " << c["name"]);
      const Json ours = rows_of(kind, bytes_of(c["bytes"].get<std::string>()));
      INFO("ours " << ours.dump() << ", theirs " << c["rows"].dump());
      const auto different = differences.find(kind == "json" ? c["name"].get<std::string>() : "");
      if (different == differences.end()) {
        CHECK(same(ours, c["rows"]));
      } else {
        CHECK(same(ours, different->second.is_null() ? different->second : plain(different->second)));
      }
    }
  }
}

TEST_CASE("Data files: a broken line is named, and the lines around it are read") {
  const Folder folder;
  const FileRows file =
      read_rows(folder.write("x.jsonl", "{\"k\": 1}\n{\"k\": \n{\"k\": 2}\n\n{\"k\": \"a\n{\"k\": 3} x\n{\"k\": 4}"));
  REQUIRE(file.rows.size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(file.rows[i].value["k"] == i + 1);
  CHECK(file.rows[3].number == 7);
  REQUIRE(file.wrong.size() == 3);
  CHECK(file.wrong[0].origin == folder.file("x.jsonl") + " row 2");
  CHECK(contains(file.wrong[1].message, "not valid JSON: line 5, column 9: found the control character 10"));
  CHECK(contains(file.wrong[2].message, "line 6, column 10: found x, wanted a value"));
}

TEST_CASE("Data files: a broken list is refused with its line") {
  const Folder folder;
  CHECK(contains(error_of([&] { read_rows(folder.write("x.json", "[{\"k\": 1},\n{\"k\": }]")); }),
                 "x.json is not valid JSON: line 2, column 7: found }, wanted a value"));
  CHECK(
      contains(error_of([&] { read_rows(folder.write("x.json", "[" + std::string(1000, '['))); }), "500 levels deep"));
}

TEST_CASE("Data files: what is no file, or too large for one list, is refused before it is read") {
  const Folder folder;
  const auto refusal = [](const std::filesystem::path& path) { return error_of([&] { read_rows(path); }); };
  const auto pipe = folder.path() / "pipe.json";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(refusal(pipe) == pipe.string() + ": is a pipe, wanted a regular file");
  const auto list = folder.write("list.json", "[{"), table = folder.write("table.csv", "a,b\n");
  for (const auto& path : {list, table}) {
    std::filesystem::resize_file(path, std::uintmax_t{5} << 30);
    CHECK(contains(refusal(path), "has 5368709120 bytes, "));
    CHECK(contains(refusal(path), " may have 4294967296: write the records as JSON lines"));
  }
  const auto holes = folder.write("holes.json", "");
  std::filesystem::resize_file(holes, std::uintmax_t{3} << 30);
  CHECK(contains(refusal(holes), "begins with a NUL byte"));
  CHECK(contains(read_rows(folder.write("nul.jsonl", std::string("{\"k\": 1}\0", 9))).wrong.at(0).message,
                 "found the control character 0"));
}

TEST_CASE("Data files: a record is bounded in values, and the one after it is read") {
  const Folder folder;
  std::string large = "{\"k\": [0";
  for (int i = 0; i < 1 << 22; ++i) large += ",0";
  const FileRows file = read_rows(folder.write("x.jsonl", large + "]}\n{\"k\": 1}\n"));
  CHECK(file.rows.size() == 1);
  CHECK(contains(file.wrong.at(0).message, "line 1: a record of more than 4194304 values"));
}

TEST_CASE("Data files: a wrong CSV record is named, the others are read") {
  const Folder folder;
  const FileRows file = read_rows(folder.write("x.csv", "a,b\n\"x\ny\",z\np,q,r\ns\n"));
  REQUIRE(file.rows.size() == 2);
  CHECK(file.rows[0].number == 2);
  CHECK(file.rows[1].number == 5);
  REQUIRE(file.wrong.size() == 1);
  CHECK(file.wrong[0].origin == folder.file("x.csv") + " row 4");
  CHECK(contains(file.wrong[0].message, "3 fields, the first line names 2"));
  CHECK(contains(error_of([&] { read_rows(folder.write("x.csv", "a,b\n\"x,y\n")); }),
                 "x.csv is not valid CSV: line 2: a quote is opened and never closed"));
}

TEST_CASE("Data files: a git-lfs pointer is named in place of records") {
  const Folder folder;
  for (const char* name : {"x.json", "x.jsonl", "x.csv"})
    CHECK(contains(error_of([&] { read_rows(folder.write(name, "version https://git-lfs.github.com/spec/v1\n")); }),
                   cat(name, ": is a git-lfs pointer, not the file itself")));
}

TEST_CASE("Data files: the files of a folder have one type") {
  const Folder folder;
  folder.write("d/a.json", "{}");
  folder.write("d/b.csv", "k\n1\n");
  CHECK(contains(error_of([&] { read_rows(folder.path() / "d"); }), "holds a.json and b.csv"));
}

TEST_CASE("Data files: reading takes time linear in the number of keys") {
  const auto seconds = [](int keys) {
    std::string text = "{";
    for (int i = 0; i < keys; ++i) text += cat(i ? "," : "", "\"key", i, "\":0");
    text += "}";
    std::clock_t best = 0;
    for (int run = 0; run < 3; ++run) {
      const std::clock_t begin = std::clock();
      CHECK(read_json_text(text).size() == static_cast<std::size_t>(keys));
      const std::clock_t took = std::clock() - begin;
      best = run ? std::min(best, took) : took;
    }
    return static_cast<double>(best);
  };
  CHECK(seconds(320000) < 256 * seconds(10000));  // 32 if linear, 1024 if each key is compared with all before it
}

TEST_CASE("Split: the grammar and the rounding are those of the datasets library") {
  for (const Json& c : read_json(golden("splits.json"))) {
    const std::string split = c["split"];
    INFO(c["count"] << " rows, split " << split);
    std::vector<int> rows;
    const std::string error = error_of([&] { rows = split_slice(split, c["count"].get<int>()); });
    CHECK(error.empty() == !c["rows"].is_null());
    if (!c["rows"].is_null()) CHECK(rows == c["rows"].get<std::vector<int>>());
  }
}

TEST_CASE("Split: errors say what is wrong") {
  const auto error = [](const std::string& split) { return error_of([&] { split_slice(split, 6); }); };
  CHECK(contains(error("test"), "split \"test\" is unknown: a local file has the split train"));
  CHECK(contains(error("train[2]"), "\"train[2]\" is not a split; wanted train, train[:100]"));
  CHECK(contains(error("train[:0]"), "\"train[:0]\" takes none of 6 records"));
  CHECK(contains(error("train[:101%]"), "percents go from -100 to 100"));
  CHECK(contains(error("train[:2](closest)"), "only a slice in percent has a rounding"));
}
