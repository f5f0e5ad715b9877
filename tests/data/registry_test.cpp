#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/registry.hpp>
#include <lamina/data/rows.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

Registry registry_of(const Folder& folder, const std::string& json) {
  folder.write("dataset_info.json", json);
  return Registry::load(folder.path());
}
std::string find_error(const std::string& entry) {
  const Folder folder;
  return error_of([&] { registry_of(folder, R"({"x": )" + entry + "}").find("x"); });
}
std::string rows_error(const std::string& name, const std::string& text) {
  const Folder folder;
  folder.write(name, text);
  return error_of([&] { read_rows(folder.path() / name); });
}

}  // namespace

TEST_CASE("Registry: an entry with a file name alone has LLaMA-Factory's defaults") {
  const Folder folder;
  const DatasetInfo info = registry_of(folder, R"({"x": {"file_name": "x.json"}})").find("x");
  CHECK(info.file_name == "x.json");
  CHECK(info.formatting == Formatting::alpaca);
  CHECK(!info.ranking);
  CHECK(info.split == "train");
  CHECK(!info.num_samples);
  CHECK(info.columns.prompt == "instruction");
  CHECK(info.columns.query == "input");
  CHECK(info.columns.response == "output");
  CHECK(!info.columns.history);
  CHECK(info.columns.messages == "conversations");
  CHECK(!info.columns.images);
  CHECK(info.tags.user_tag == "human");
  CHECK(info.tags.system_tag == "system");
}

TEST_CASE("Registry: once columns or tags are given, a missing key is unused") {
  const Folder folder;
  const DatasetInfo info =
      registry_of(folder, R"({"x": {"file_name": "x.json", "formatting": "sharegpt", "ranking": true, "subset": "s",
        "split": "dev", "folder": "f", "num_samples": 7, "columns": {"images": "pictures", "messages": "talk"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user"}}})")
          .find("x");
  CHECK(info.formatting == Formatting::sharegpt);
  CHECK(info.ranking);
  CHECK(info.subset == "s");
  CHECK(info.split == "dev");
  CHECK(info.folder == "f");
  CHECK(info.num_samples == 7);
  CHECK(info.columns.images == "pictures");
  CHECK(info.columns.messages == "talk");
  CHECK(!info.columns.prompt);
  CHECK(!info.columns.response);
  CHECK(info.tags.user_tag == "user");
  CHECK(!info.tags.assistant_tag);
  CHECK(!info.tags.system_tag);
}

TEST_CASE("Registry: an unknown data set is an error that suggests the nearest and lists all") {
  const Folder folder;
  const Registry registry = registry_of(folder, R"({"table_reg": {"file_name": "a"}, "identity": {"file_name": "b"}})");
  const std::string error = error_of([&] { registry.find("table_rg"); });
  CHECK(contains(error, "dataset: table_rg is not in " + folder.file("dataset_info.json")));
  CHECK(contains(error, "did you mean table_reg?"));
  CHECK(contains(error, "table_reg, identity"));
  CHECK(!contains(error_of([&] { registry.find("something_else"); }), "did you mean"));
}

TEST_CASE("Registry: hub, script and cloud sources are refused, even beside a file name") {
  for (const char* key : {"hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"}) {
    const std::string error = find_error(cat(R"({"file_name": "x.json", ")", key, R"(": "who/what"})"));
    CHECK(contains(error, cat(key, " who/what")));
    CHECK(contains(error, "download its json or jsonl files"));
  }
  CHECK(contains(error_of([] { Registry::load("ONLINE"); }), "ONLINE names a hub"));
  CHECK(contains(error_of([] { Registry::load("REMOTE:a/b"); }), "REMOTE:a/b names a hub"));
}

TEST_CASE("Registry: wrong entries say which field of which data set") {
  CHECK(contains(find_error("3"), "data set x: an object is wanted"));
  CHECK(contains(find_error("{}"), "\"file_name\" is missing"));
  CHECK(contains(find_error(R"({"file_name": 3})"), "\"file_name\" is 3, text is wanted"));
  CHECK(contains(find_error(R"({"file_name": "a", "formatting": "sharegtp"})"), "did you mean sharegpt?"));
  CHECK(contains(find_error(R"({"file_name": "a", "ranking": "yes"})"), "true or false"));
  CHECK(contains(find_error(R"({"file_name": "a", "num_samples": 0})"), "a positive whole number"));
  CHECK(contains(find_error(R"({"file_name": "a", "formating": "alpaca"})"), "did you mean formatting?"));
  CHECK(contains(find_error(R"({"file_name": "a", "columns": {"image": "b"}})"), "did you mean images?"));
  CHECK(contains(find_error(R"({"file_name": "a", "tags": {"user": "b"}})"), "did you mean user_tag?"));
  CHECK(contains(find_error(R"({"file_name": "a", "columns": []})"), "x columns: an object is wanted"));
  CHECK(find_error(R"({"file_name": "a", "a comment of the author": 1})") == "");
}

TEST_CASE("Registry: a missing or broken dataset_info.json is named") {
  const Folder folder;
  CHECK(contains(error_of([&] { Registry::load(folder.path()); }), "dataset_info.json: cannot be opened: dataset_dir"));
  CHECK(contains(error_of([&] { registry_of(folder, "{\"x\": "); }), "not valid JSON"));
  CHECK(contains(error_of([&] { registry_of(folder, "[]"); }), "an object of data sets by name is wanted, got array"));
}

TEST_CASE("Rows: a JSON list, JSON lines and a folder of files are read with their row numbers") {
  const Folder folder;
  folder.write("d/b.jsonl", "\xef\xbb\xbf{\"k\": 3}\r\n\n  {\"k\": 4}");
  folder.write("d/a.json", " [{\"k\": 1}, {\"k\": 2}]");
  folder.write("d/.hidden", "no JSON");
  const std::vector<Row> rows = read_rows(folder.path() / "d");
  REQUIRE(rows.size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(rows[i].value["k"] == i + 1);
  CHECK(rows[1].origin() == folder.file("d/a.json") + " row 2");
  CHECK(rows[3].origin() == folder.file("d/b.jsonl") + " row 3");  // its line
}

TEST_CASE("Rows: JSON lines in a .json file are read too") {
  const Folder folder;
  CHECK(read_rows(folder.write("a.json", "{\"k\": 1}\n{\"k\": 2}\n")).size() == 2);
}

TEST_CASE("Rows: what cannot be read is refused by name") {
  CHECK(contains(error_of([] { read_rows("nowhere.json"); }), "nowhere.json does not exist"));
  CHECK(contains(rows_error("a.json", " \n"), "a.json is empty"));
  CHECK(contains(rows_error("a.json", "[{\"k\": 1},"), "a.json is not valid JSON"));
  CHECK(contains(rows_error("a.json", "[1]"), "a.json row 1 is number, a record must be an object"));
  CHECK(contains(rows_error("a.jsonl", "{\"k\": 1}\n{\"k\""), "a.jsonl line 2 is not valid JSON"));
  CHECK(contains(rows_error("a.json", "[{\"k\": \"\xff\"}]"), "a.json is not valid JSON"));
  CHECK(contains(rows_error("a.parquet", "PAR1"), "only .json and .jsonl files are read, this is .parquet"));
  const Folder folder;
  std::filesystem::create_directories(folder.path() / "empty");
  CHECK(contains(error_of([&] { read_rows(folder.path() / "empty"); }), "holds no file"));
}
