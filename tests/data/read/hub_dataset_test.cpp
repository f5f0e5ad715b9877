#include <lamina/data/sample/hub_media.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::data;
using lamina::testing::contains;
using lamina::testing::error_of;

namespace {

using Paths = std::vector<std::string>;

Paths chosen(const Paths& paths, const std::string& split = "train", const HubDataset& set = {.name = "a/b"},
             const std::string& readme = "") {
  return choose_files(set, paths, readme, split);
}

}  // namespace

TEST_CASE("Hub data sets: without names of splits every file with records is train") {
  CHECK(chosen({"README.md", "b.jsonl", "a.json", ".gitattributes", "dataset_infos.json", "images/1.png"}) ==
        Paths{"a.json", "b.jsonl"});
  CHECK(contains(error_of([] { chosen({"a.json"}, "test"); }),
                 "of its 1 files with records none is of the split test; splits: train"));
  CHECK(contains(error_of([] {
                   chosen({"train.json", "test.json"}, "tset");
                 }),
                 "of the split tset; splits: test, train (did you mean test?)"));
}

TEST_CASE("Hub data sets: words of folders and files name the split") {
  const Paths paths = {"data/train-00000-of-00002.json", "data/train-00001-of-00002.json", "data/test_1.json",
                       "dev/x.json", "other.json"};
  CHECK(chosen(paths) == Paths{"data/train-00000-of-00002.json", "data/train-00001-of-00002.json"});
  CHECK(chosen(paths, "test") == Paths{"data/test_1.json"});
  CHECK(chosen(paths, "validation") == Paths{"dev/x.json"});
  CHECK(chosen({"constraint.json", "latest.json"}) ==
        Paths{"constraint.json", "latest.json"});  // no word, only letters
}

TEST_CASE("Hub data sets: a folder limits the files") {
  const HubDataset set{.name = "a/b", .folder = "zh"};
  CHECK(chosen({"zh/train.json", "en/train.json", "zh2/train.json"}, "train", set) == Paths{"zh/train.json"});
  const HubDataset typo{.name = "a/b", .folder = "zg"};
  CHECK(contains(error_of([&] {
                   chosen({"zh/train.json", "en/train.json", "x/1.png"}, "train", typo);
                 }),
                 "data set a/b: \"folder\" is zg, in which no file is .json, .jsonl or .csv; folders with such files: "
                 "en, zh (did you mean zh?)"));
  CHECK(
      contains(error_of([&] { chosen({"train.json"}, "train", typo); }), "they are at the top: leave \"folder\" out"));
}

TEST_CASE("Hub data sets: the configurations of the card come first") {
  const std::string readme = R"(---
license: mit
configs:
- config_name: default
  data_files: "*.jsonl"
- config_name: zh
  data_files:
  - split: train
    path: ["zh/*.json", "more/**"]
  - split: test
    path: zh/held_out/x.json
---
# a card
)";
  const Paths paths = {"a.jsonl", "zh/1.json", "zh/held_out/x.json", "more/deep/2.json"};
  CHECK(chosen(paths, "train", {.name = "a/b"}, readme) == Paths{"a.jsonl"});
  const HubDataset zh{.name = "a/b", .subset = "zh", .folder = ""};
  CHECK(chosen(paths, "train", zh, readme) == Paths{"more/deep/2.json", "zh/1.json"});
  CHECK(chosen(paths, "test", zh, readme) == Paths{"zh/held_out/x.json"});
  const std::string error =
      error_of([&] { chosen(paths, "train", {.name = "a/b", .subset = "zg", .folder = ""}, readme); });
  CHECK(contains(error, "its card lists default, zh (did you mean zh?)"));
  CHECK(contains(error_of([&] { chosen(paths, "train", zh); }), "its card lists none"));
}

TEST_CASE("Hub data sets: what cannot be read is refused by name, before it is fetched") {
  CHECK(contains(error_of([] { chosen({"data/train-0.parquet"}); }),
                 "data/train-0.parquet: .parquet files are not read"));
  CHECK(contains(error_of([] { chosen({"b.py", "README.md"}); }), "made by a script, and no foreign code is run"));
  CHECK(contains(error_of([] { chosen({"a.json", "b.csv"}); }), "all files must have one type"));
  CHECK(contains(error_of([] { chosen({"a.json"}, "train", {.name = "a/b"}, "---\na: [\n---\n"); }),
                 "a/b/README.md line "));
}

TEST_CASE("Hub data sets: a slice of a split is taken after its files are read") {
  CHECK(hub_split({}, "test[10%:]") == std::pair<std::string, std::string>("test", "train[10%:]"));
  CHECK(hub_split({}, "train") == std::pair<std::string, std::string>("train", "train"));
  CHECK(contains(error_of([] { hub_split({.name = "a/b"}, "train+test"); }), "one split is read"));
}

TEST_CASE("Hub data sets: paths of images count from the records' folder, then from the top, and stay inside") {
  const auto paths = [](const std::string& written, const char* records = "/s/data/train.jsonl") {
    return data::detail::repository_paths("/s", records, written);
  };
  CHECK(paths("images/a.png") == Paths{"data/images/a.png", "images/a.png"});
  CHECK(paths("./a.png", "/s/train.json") == Paths{"a.png"});
  CHECK(paths("../a.png") == Paths{"a.png"});
  for (const char* outside : {"../../etc/a.png", "/etc/a.png", "https://a.test/b.png", ""}) {
    CAPTURE(outside);
    CHECK(paths(outside, "/s/train.json").empty());
  }
}

TEST_CASE("Hub data sets: a path that leads out of the repository names no file of this machine") {
  data::detail::require_inside({.name = "a/b"}, "images/../a.png");
  for (const char* outside : {"/etc/a.png", "../a.png", "images/../../a.png"})
    CHECK(contains(error_of([&] { data::detail::require_inside({.name = "a/b"}, outside); }),
                   cat("data set a/b: a record names the file ", outside, ", wanted a path inside the repository")));
}

TEST_CASE("Hub data sets: of a listing the named images are taken, and none that is too large for one") {
  const hub::Listing listing{"", {{"a.png", 10, {}}, {"b.png", 20, {}}, {"c.png", most_media_bytes + 1, {}}}};
  CHECK(data::detail::listed_media({.name = "a/b"}, listing, {"b.png", "x.png"}) == Paths{"b.png"});
  CHECK(contains(error_of([&] { data::detail::listed_media({.name = "a/b"}, listing, {"c.png"}); }),
                 "data set a/b: c.png has 1073741825 bytes, more than the 1073741824 that one may have"));
}

TEST_CASE("Hub data sets: an image that the repository lacks is named, with an archive that may hold it") {
  const auto text = [](const std::vector<hub::RemoteFile>& files) {
    return data::detail::missing_media_text({.name = "a/b"}, {"", files}, {{"data/1.png", "1.png"}, {"2.png"}});
  };
  CHECK(text({{"1.png", 1, {}}, {"2.png", 1, {}}}) == "");
  CHECK(text({{"data/1.png", 1, {}}}) ==
        "data set a/b: the repository does not have 2.png, of the 2 images and videos that its records name; give "
        "media_dir the "
        "folder that has them");
  const std::string packed = text({{"tables.zip", 1, {}}});
  CHECK(contains(packed, "does not have 2.png, 1.png, of the 2 images and videos"));
  CHECK(contains(packed,
                 "it has tables.zip, which is not unpacked: fetch it with `lamina-download a/b tables.zip "
                 "--repo-type dataset --local-dir DIR`, unpack it, and give its folder as media_dir"));
}

TEST_CASE("Hub data sets: images are found in each form of a column") {
  auto value = nlohmann::ordered_json::parse(R"(["a", {"path": "b", "bytes": null}, ["c"], null, 3, {"bytes": "x"}])");
  Paths seen;
  data::detail::for_each_medium(value, [&](std::string& path) { seen.push_back(std::exchange(path, "/x")); });
  CHECK(seen == Paths{"a", "b", "c"});
  CHECK(value[1]["path"] == "/x");
}
