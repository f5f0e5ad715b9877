#include "data/support.hpp"

#include <lamina/data/dataset.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

std::filesystem::path image(const std::string& name) {
  return std::filesystem::path(LAMINA_GOLDEN_DIR) / "images" / name;
}

EncodedSample with_images(const std::string& origin, std::vector<std::filesystem::path> images) {
  return {.ids = {}, .labels = {}, .images = std::move(images), .origin = origin};
}

/// A data set of one record for each of these images.
struct ImageShelf {
  Folder folder;
  text::Tokenizer tokenizer = byte_tokenizer();
  vision::Processor processor = qwen3_processor();
  DataOptions options;
  explicit ImageShelf(const std::vector<std::string>& names) {
    Json rows = Json::array();
    for (const std::string& name : names)
      rows.push_back({{"instruction", "<image>"}, {"output", "a"}, {"images", {image(name).string()}}});
    folder.write("rows.json", rows.dump());
    folder.write("dataset_info.json", R"({"rows": {"file_name": "rows.json",
      "columns": {"prompt": "instruction", "response": "output", "images": "images"}}})");
    options.template_name = "qwen3_vl_nothink", options.dataset = {"rows"};
    options.dataset_dir = folder.path();
  }
  Datasets load() const { return load_datasets(options, tokenizer, processor); }
};

}  // namespace

TEST_CASE("Images: a file whose header is whole and whose data are cut is found before training") {
  ImageShelf shelf({"plain.jpg", "cut15.jpg", "split.png", "cut15.jpg"});
  const std::string rows = shelf.folder.file("rows.json"), cut = image("cut15.jpg").string();
  const std::string error = error_of([&] { shelf.load(); });
  CAPTURE(error);
  CHECK(contains(error, "dataset: 2 records are wrong:"));
  CHECK(contains(error, rows + " row 2: image " + cut + ": broken or truncated JPEG"));
  CHECK(contains(error, rows + " row 4: image " + cut));
  shelf.options.skip_bad_samples = true;
  const Datasets kept = shelf.load();
  CHECK(kept.train.size() == 2);
  REQUIRE(kept.notes.size() == 1);
  CHECK(contains(kept.notes[0], "skipped 2 wrong record(s):"));
  CHECK(contains(kept.notes[0], cut));
}

TEST_CASE("Images: a broken one is reported once for a record that is evaluated and answered") {
  ImageShelf shelf({"plain.jpg", "cut15.jpg"});
  shelf.options.eval_dataset = std::exchange(shelf.options.dataset, {});
  shelf.options.predict = true;
  CHECK(contains(error_of([&] { shelf.load(); }), "dataset: 1 record is wrong:"));
  shelf.options.skip_bad_samples = true;
  const Datasets kept = shelf.load();
  CHECK(kept.eval.at(0).samples.size() == 1);
  CHECK(kept.questions.size() == 1);
}

TEST_CASE("Images: how many have an alpha channel or an EXIF rotation is said once") {
  const Datasets both = ImageShelf({"rgba.png", "grey_alpha.png", "turned6.jpg", "plain.jpg", "rgba.png"}).load();
  REQUIRE(both.notes.size() == 1);
  CHECK(both.notes[0] ==
        "images: of 4, 2 have an alpha channel, which is dropped; 1 has an EXIF rotation, which is not "
        "applied (as in LLaMA-Factory)");
  CHECK(ImageShelf({"plain.jpg"}).load().notes.empty());
}

TEST_CASE("check_media_files: each file is decoded once, whatever the number of samples") {
  std::vector<EncodedSample> first, second;
  for (int i = 0; i < 50; ++i) {
    first.push_back(with_images(cat("row ", i), {image("plain.jpg"), image("split.png")}));
    second.push_back(with_images(cat("row ", i), {image(i % 2 ? "cut.gif" : "plain.gif"), image("plain.jpg")}));
  }
  const MediaCheck check = check_media_files({&first, &second});
  CHECK(check.images == 4);
  CHECK(check.broken.size() == 1);
  std::vector<std::string> wrong;
  remove_broken(second, check, [&](const std::string& origin, const std::string& why) {
    wrong.push_back(origin);
    CHECK(contains(why, "cut.gif"));
  });
  CHECK(second.size() == 25);
  CHECK((wrong.size() == 25 && wrong[0] == "row 1"));
  remove_broken(first, check, [&](const std::string&, const std::string&) { CHECK(false); });
  CHECK(first.size() == 50);
}
