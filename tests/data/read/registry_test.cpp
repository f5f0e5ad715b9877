#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/read/registry.hpp>
#include <lamina/data/read/rows.hpp>

#include <span>
#include <utility>

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
  return error_of([&] {
    const FileRows file = read_rows(folder.path() / name);
    if (!file.wrong.empty()) fail(file.wrong[0].origin, ": ", file.wrong[0].message);
  });
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
  CHECK(info.split == "dev");
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
  CHECK(contains(error, "dataset or eval_dataset: table_rg is not in " + folder.file("dataset_info.json")));
  CHECK(contains(error, "did you mean table_reg?"));
  CHECK(contains(error, "table_reg, identity"));
  CHECK(!contains(error_of([&] { registry.find("something_else"); }), "did you mean"));
}

TEST_CASE("Registry: script and cloud sources are refused, even beside a file name") {
  for (const char* key : {"om_hub_url", "script_url", "cloud_file_name"}) {
    const std::string error = find_error(cat(R"({"file_name": "x.json", ")", key, R"(": "who/what"})"));
    CHECK(contains(error, cat(key, " who/what")));
    CHECK(contains(error,
                   key == std::string("script_url") ? "no foreign code is run" : "download its json or jsonl files"));
  }
  CHECK(
      contains(error_of([] { Registry::load("REMOTE:a/b"); }), "REMOTE:a/b: a dataset_info.json on a hub is not read"));
}

TEST_CASE("Registry: of two hubs Hugging Face counts, unless ModelScope is chosen or alone") {
  const auto hub_of = [](const std::string& entry) {
    const Folder folder;
    return registry_of(folder, cat("{\"x\": ", entry, "}")).find("x").hub.value();
  };
  CHECK(hub_of(R"({"hf_hub_url": "a/b"})").source == hub::Source::huggingface);
  CHECK(hub_of(R"({"ms_hub_url": "a/b"})").source == hub::Source::modelscope);
  const char* both = R"({"hf_hub_url": "a/b", "ms_hub_url": "c/d", "subset": "s", "folder": "f", "file_name": "x"})";
  CHECK(hub_of(both).name == "a/b");
  CHECK(hub_of(both).subset == "s");
  CHECK(hub_of(both).folder == "f");
  ::setenv("USE_MODELSCOPE_HUB", "1", 1);
  CHECK(hub_of(both).source == hub::Source::modelscope);
  CHECK(hub_of(both).name == "c/d");
  CHECK(Registry::load("ONLINE").find("e/f").hub.value().source == hub::Source::modelscope);
  ::unsetenv("USE_MODELSCOPE_HUB");
  CHECK(Registry::load("ONLINE").find("e/f").hub.value().name == "e/f");
  CHECK(contains(find_error(R"({"hf_hub_url": "../b"})"), "\"hf_hub_url\" is ../b, wanted OWNER/NAME"));
  const Folder folder;
  const auto file = registry_of(folder, R"({"x": {"file_name": "a", "subset": "b"}})").find("x");
  CHECK(contains(file.notes.at(0), "\"subset\" has no effect"));
}

TEST_CASE("Registry: wrong entries say which field of which data set") {
  CHECK(contains(find_error("3"), "data set x: an object is wanted"));
  CHECK(contains(find_error("{}"), "\"file_name\" is missing"));
  CHECK(contains(find_error(R"({"file_name": 3})"), "\"file_name\" is 3, wanted a string"));
  CHECK(contains(find_error(R"({"file_name": "a", "formatting": "sharegtp"})"), "did you mean sharegpt?"));
  CHECK(contains(find_error(R"({"file_name": "a", "ranking": "yes"})"), "true or false"));
  CHECK(contains(find_error(R"({"file_name": "a", "num_samples": 0})"), "a positive whole number"));
  CHECK(contains(find_error(R"({"file_name": "a", "formating": "alpaca"})"), "did you mean formatting?"));
  CHECK(contains(find_error(R"({"file_name": "a", "columns": {"image": "b"}})"), "did you mean images?"));
  CHECK(contains(find_error(R"({"file_name": "a", "tags": {"user": "b"}})"), "did you mean user_tag?"));
  CHECK(contains(find_error(R"({"file_name": "a", "columns": []})"), "x columns: an object is wanted"));
  CHECK(contains(find_error(R"({"file_name": "a", "columns": {"labels": "b"}})"), "x columns: unknown key \"labels\""));
  CHECK(find_error(R"({"file_name": "a", "a comment of the author": 1})") == "");
}

TEST_CASE("Registry: a missing or broken dataset_info.json is named") {
  const Folder folder;
  CHECK(contains(error_of([&] { Registry::load(folder.path()); }), "dataset_info.json: cannot be opened: dataset_dir"));
  CHECK(
      contains(error_of([&] { registry_of(folder, "{\"x\": "); }), "not valid JSON: line 1, column 7: the text ends"));
  CHECK(contains(error_of([&] { registry_of(folder, R"({"a": {"x": 1, "x": 2}})"); }), "x is set twice: keep one"));
  CHECK(contains(error_of([&] { registry_of(folder, "{\"a\": 1e400}"); }), "the number is too large"));
  CHECK(contains(error_of([&] { registry_of(folder, "[]"); }),
                 "dataset_info.json: is JSON of type array, wanted an object"));
}

TEST_CASE("Rows: a JSON list, JSON lines and a folder of files are read with their row numbers") {
  const Folder folder;
  folder.write("d/b.jsonl", "\xef\xbb\xbf{\"k\": 3}\r\n\n  {\"k\": 4}");
  folder.write("d/a.json", " [{\"k\": 1}, {\"k\": 2}]");
  folder.write("d/.hidden", "no JSON");
  const std::vector<Row> rows = read_rows(folder.path() / "d").rows;
  REQUIRE(rows.size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(rows[i].value["k"] == i + 1);
  CHECK(rows[1].origin() == folder.file("d/a.json") + " row 2");
  CHECK(rows[3].origin() == folder.file("d/b.jsonl") + " row 3");  // its line
}

TEST_CASE("Rows: JSON lines in a .json file are read too") {
  const Folder folder;
  CHECK(read_rows(folder.write("a.json", "{\"k\": 1}\n{\"k\": 2}\n")).rows.size() == 2);
}

TEST_CASE("Rows: what cannot be read is refused by name") {
  CHECK(contains(error_of([] { read_rows("nowhere.json"); }), "nowhere.json does not exist"));
  CHECK(contains(rows_error("a.json", " \n"), "a.json is empty"));
  CHECK(contains(rows_error("a.json", "[{\"k\": 1},"), "a.json is not valid JSON"));
  CHECK(contains(rows_error("a.json", "[1]"), "a.json row 1: the record is number, wanted an object"));
  CHECK(contains(rows_error("a.jsonl", "{\"k\": 1}\n{\"k\""),
                 "a.jsonl row 2: not valid JSON: line 2, column 5: the text ends, wanted a colon after \"k\""));
  CHECK(contains(rows_error("a.json", "[{\"k\": \"\xff\"}]"), "a.json is not valid JSON"));
  CHECK(contains(rows_error("a.parquet", "PAR1"),
                 "a.parquet: .parquet files are not read: write the records as JSON lines"));
  CHECK(contains(rows_error("a.parquet", "PAR1"), "load_dataset('parquet', data_files='a.parquet'"));
  CHECK(contains(rows_error("a.arrow", ""), "a.arrow: .arrow files are not read"));
  CHECK(contains(rows_error("a.txt", "x"), ".json, .jsonl and .csv files are read, this is .txt"));
  const Folder folder;
  std::filesystem::create_directories(folder.path() / "empty");
  CHECK(contains(error_of([&] { read_rows(folder.path() / "empty"); }), "holds no file"));
}

namespace {

/// The keys of a table with what becomes of them.
Json fates(std::span<const RegistryKey> keys) {
  Json out = Json::object();
  for (const RegistryKey& key : keys) {
    const char* words[] = {"used", "refused", "no effect"};
    out[std::string(key.name)] = words[static_cast<int>(key.fate)];
  }
  return out;
}
std::vector<std::string> notes_of(const std::string& entry) {
  const Folder folder;
  return registry_of(folder, R"({"x": )" + entry + "}").find("x").notes;
}

}  // namespace

TEST_CASE("Registry: every key that LLaMA-Factory knows is used, refused or said to have no effect") {
  const Json known = read_json(golden("registry_keys.json"));
  for (const auto& [part, keys] : std::vector<std::pair<std::string, std::span<const RegistryKey>>>{
           {"entry", entry_keys}, {"columns", column_keys}, {"tags", tag_keys}}) {
    const Json ours = fates(keys);
    for (const std::string name : known[part]) {
      INFO(part << " " << name);
      CHECK(ours.contains(name));
    }
  }
  CHECK(fates(entry_keys) == Json::parse(R"({"file_name": "used", "formatting": "used", "ranking": "used",
    "split": "used", "num_samples": "used", "columns": "used", "tags": "used", "subset": "used",
    "folder": "used", "load_from": "no effect", "dataset_name": "no effect", "hf_hub_url": "used",
    "ms_hub_url": "used", "om_hub_url": "refused", "script_url": "refused", "cloud_file_name": "refused",
    "s3_file_name": "refused"})"));
  CHECK(fates(column_keys) == Json::parse(R"({"prompt": "used", "query": "used", "response": "used", "history": "used",
    "messages": "used", "system": "used", "tools": "used", "images": "used", "videos": "used", "audios": "used",
    "chosen": "used", "rejected": "used", "kto_tag": "used"})"));
}

TEST_CASE("Registry: what becomes of a key is what the table says") {
  for (const RegistryKey& key : entry_keys) {
    if (key.fate == KeyFate::used) continue;
    const std::string entry = cat(R"({"file_name": "a", ")", key.name, R"(": "b"})");
    INFO(entry);
    if (key.fate == KeyFate::refused) {
      CHECK(contains(find_error(entry), key.name));
    } else {
      REQUIRE(notes_of(entry).size() == 1);
      CHECK(contains(notes_of(entry)[0], cat("\"", key.name, "\" has no effect: ", key.why)));
    }
  }
  for (const RegistryKey& key : column_keys) {
    const std::string entry = cat(R"({"file_name": "a", "columns": {")", key.name, R"(": "b"}})");
    const bool silent = key.fate == KeyFate::used && key.only != "messages";
    INFO(entry);
    CHECK(contains(find_error(entry), key.name) == (key.fate == KeyFate::refused));
    if (key.fate != KeyFate::refused) CHECK(notes_of(entry).empty() == silent);
  }
  CHECK(contains(notes_of(R"({"file_name": "a", "formatting": "openai", "columns": {"query": "b"}})")[0],
                 "x columns: \"query\" has no effect: only formatting alpaca has it"));
  CHECK(contains(notes_of(R"({"file_name": "a", "tags": {"role_tag": "b"}})")[0],
                 "\"tags\" has no effect: only formatting sharegpt and openai has it"));
  CHECK(contains(notes_of(R"({"file_name": "a", "remark of ours": "b"})")[0], "remark of ours has no effect"));
}
