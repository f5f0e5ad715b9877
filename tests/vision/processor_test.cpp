#include <lamina/model/qwen_vl/processor.hpp>
#include "vision/golden.hpp"

#include <unistd.h>

#include <fstream>

using namespace lamina;
using namespace lamina::vision;

namespace {

/// A model directory made of the given files, removed at the end.
struct ModelDir {
  std::filesystem::path path = std::filesystem::temp_directory_path() / cat("lamina_processor_", ::getpid());
  ModelDir() { std::filesystem::create_directories(path); }
  ~ModelDir() { std::filesystem::remove_all(path); }
  void write(const char* file, const std::string& text) const { std::ofstream(path / file) << text; }
};

struct Row {
  ImageSize in;
  Grid grid;
  int tokens;
};

void check_rows(const std::string& family, const std::vector<Row>& rows) {
  const Processor p = golden::processor(family);
  for (const Row& row : rows) {
    CAPTURE(family, row.in.width, row.in.height);
    CHECK(p.grid_for(row.in) == row.grid);
    CHECK(p.visual_tokens()(p.grid_for(row.in)) == row.tokens);
  }
}

}  // namespace

TEST_CASE("Processor: the resize table of both families, ties to even") {
  check_rows("qwen3_vl", {{{640, 480}, {1, 30, 40}, 300},
                          {{1920, 1080}, {1, 68, 120}, 2040},
                          {{336, 336}, {1, 20, 20}, 100},
                          {{112, 80}, {1, 14, 20}, 70},
                          {{32, 32}, {1, 16, 16}, 64},
                          {{1000, 1000}, {1, 62, 62}, 961},
                          {{5000, 7000}, {1, 302, 216}, 16308},
                          {{3000, 20}, {1, 2, 188}, 94}});
  check_rows("qwen2_5_vl", {{{640, 480}, {1, 34, 46}, 391},
                            {{1920, 1080}, {1, 78, 138}, 2691},
                            {{98, 70}, {1, 4, 8}, 8},
                            {{28, 28}, {1, 4, 4}, 4},
                            {{5000, 7000}, {1, 302, 216}, 16308}});
}

TEST_CASE("Processor: the table of sizes and tokens after LLaMA-Factory's limits") {
  struct Sizes {
    std::int64_t limit;
    ImageSize in, qwen2_5, qwen3;
    int qwen2_5_tokens, qwen3_tokens;
  };
  const Sizes table[] = {
      {589824, {300, 168}, {308, 168}, {352, 192}, 66, 66},
      {589824, {300, 199}, {308, 196}, {320, 224}, 77, 70},
      {589824, {300, 166}, {308, 168}, {352, 192}, 66, 66},
      {589824, {64, 64}, {56, 56}, {256, 256}, 4, 64},
      {589824, {20, 20}, {56, 56}, {256, 256}, 4, 64},
      {589824, {100, 30}, {112, 28}, {480, 160}, 4, 75},
      {589824, {29, 300}, {28, 308}, {96, 832}, 11, 78},
      {589824, {1000, 4}, {1008, 28}, {1536, 64}, 36, 96},
      {589824, {6000, 20}, {5040, 28}, {5056, 32}, 180, 158},
      {589824, {8000, 30}, {5404, 28}, {5408, 32}, 193, 169},
      {262144, {1920, 1080}, {672, 392}, {672, 384}, 336, 252},
      {262144, {1080, 1920}, {392, 672}, {384, 672}, 336, 252},
      {262144, {4000, 3000}, {588, 448}, {576, 448}, 336, 252},
      {262144, {512, 512}, {504, 504}, {512, 512}, 324, 256},
      {589824, {1920, 1080}, {1036, 588}, {1024, 576}, 777, 576},
      {589824, {4000, 3000}, {896, 672}, {896, 672}, 768, 588},
      {589824, {640, 480}, {644, 476}, {640, 480}, 391, 300},
      {262144, {640, 480}, {588, 448}, {576, 448}, 336, 252},
      {262144, {1024, 768}, {588, 448}, {576, 448}, 336, 252},
      {262144, {768, 768}, {504, 504}, {512, 512}, 324, 256},
      {589824, {1024, 768}, {896, 672}, {896, 672}, 768, 588},
      {589824, {768, 768}, {756, 756}, {768, 768}, 729, 576},
  };
  for (const Sizes& row : table) {
    const ImageSize limited = limited_size(row.in, 1024, row.limit, qwen_vl::processor.shape);
    check_rows("qwen2_5_vl", {{limited, {1, row.qwen2_5.height / 14, row.qwen2_5.width / 14}, row.qwen2_5_tokens}});
    check_rows("qwen3_vl", {{limited, {1, row.qwen3.height / 16, row.qwen3.width / 16}, row.qwen3_tokens}});
  }
}

TEST_CASE("Processor: patches of noise equal transformers' to the last bit") {
  REQUIRE(golden::values()["noise"].size() == 8);
  for (const auto& want : golden::values()["noise"]) {
    CAPTURE(want["width"].get<int>(), want["height"].get<int>());
    golden::check_patches(golden::noise(want["width"], want["height"]), want["patches"]);
  }
}

TEST_CASE("Processor: rows are in block-major order and hold each frame twice") {
  Processor p = golden::processor("qwen3_vl");
  p.min_pixels = 1;
  Image image{64, 64, std::vector<std::uint8_t>(64 * 64 * 3), {}, false};
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64; ++x) image.rgb[(y * 64 + x) * 3] = static_cast<std::uint8_t>(y / 16 * 4 + x / 16);
  std::vector<float> rows;
  REQUIRE(p.append_patches(image, rows) == Grid{1, 4, 4});
  const int row_major[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
  for (int patch = 0; patch < 16; ++patch) {
    const float* row = rows.data() + patch * p.row_length();
    CHECK(row[0] == row_major[patch] / 127.5f - 1);
    CHECK(std::equal(row, row + 256, row + 256));  // red: second frame like the first
    CHECK(row[512] == -1.0f);                      // green starts after both red frames
  }
}

TEST_CASE("Processor: a ratio above 200 is refused") {
  CHECK_THROWS_AS(golden::processor("qwen3_vl").grid_for({4001, 20}), Error);
  CHECK_NOTHROW(golden::processor("qwen3_vl").grid_for({4000, 20}));
  CHECK_THROWS_AS(golden::processor("qwen3_vl").grid_for({0, 20}), Error);
}

TEST_CASE("Processor: loads every layout of its file") {
  const ModelDir dir;
  dir.write("preprocessor_config.json", R"({"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14,
    "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "image_processor_type": "Qwen2VLImageProcessor"})");
  Processor p = Processor::load(dir.path, qwen_vl::processor);
  CHECK((p.patch_size == 14 && p.min_pixels == 3136 && p.max_pixels == 12845056 && p.mean[2] == 0.40821073f));

  dir.write("preprocessor_config.json", R"({"size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5], "image_processor_type": "Qwen2VLImageProcessorFast", "crop_size": null})");
  p = Processor::load(dir.path, qwen_vl::processor);
  CHECK((p.patch_size == 16 && p.min_pixels == 65536 && p.max_pixels == 16777216 && p.std[0] == 0.5f));

  dir.write("processor_config.json",
            R"({"processor_class": "Qwen3VLProcessor"})");  // not nested: the other file counts
  CHECK(Processor::load(dir.path, qwen_vl::processor).patch_size == 16);

  dir.write("processor_config.json", R"({"image_processor": {"size": {"longest_edge": 1000000, "shortest_edge": 784},
    "min_pixels": 1024, "max_pixels": null, "patch_size": 16, "do_resize": true, "resample": 3,
    "rescale_factor": 0.00392156862745098, "do_rescale": true}, "processor_class": "Qwen3VLProcessor"})");
  p = Processor::load(dir.path, qwen_vl::processor);
  CHECK((p.min_pixels == 1024 && p.max_pixels == 1000000 && p.merge_size == 2));
}

TEST_CASE("Processor: settings that it would have to ignore are refused with the file and the key") {
  const ModelDir dir;
  CHECK(golden::contains(golden::error_of([&] { Processor::load(dir.path, qwen_vl::processor); }),
                         "preprocessor_config.json"));
  const auto refuses = [&](const std::string& json, const std::string& key) {
    CAPTURE(json);
    dir.write("preprocessor_config.json", json);
    const std::string message = golden::error_of([&] { Processor::load(dir.path, qwen_vl::processor); });
    CAPTURE(message);
    CHECK((golden::contains(message, "preprocessor_config.json") && golden::contains(message, key)));
  };
  refuses("[]", "is JSON of type array, wanted an object");
  refuses("{\"patch_size\": ", "not valid JSON");
  refuses(R"({"do_resize": false})", "do_resize");
  refuses(R"({"do_normalize": false})", "do_normalize");
  refuses(R"({"resample": 2})", "resample");
  refuses(R"({"rescale_factor": 1.0})", "rescale_factor");
  refuses(R"({"patch_size": "14"})", "patch_size");
  refuses(R"({"patch_size": 0})", "patch_size");
  refuses(R"({"image_std": [0.5, 0, 0.5]})", "image_std");
  refuses(R"({"image_mean": [0.5]})", "image_mean");
  refuses(R"({"image_mean": [0.5, 0.5, 0.5, 0.5]})", "image_mean holds 4 numbers, wanted 3");
  refuses(R"({"min_pixels": 10, "max_pixels": 5})", "max_pixels");
  refuses(R"({"size": {"height": 448, "width": 448}})", "size.height is 448, wanted null: images keep their shape");
  refuses(R"({"size": {"longest_edge": 448}})", "size has no shortest_edge, wanted shortest_edge and longest_edge");
  refuses(R"({"size": {"shortest_edge": 448}, "min_pixels": 4})", "size has no longest_edge");
  refuses(R"({"size": 448})", "size: got number, wanted an object");
  refuses(R"({"do_center_crop": true})", "do_center_crop is true, wanted false: the models' image processing has no");
  refuses(R"({"image_processor_type": "CLIPImageProcessor"})", "image_processor_type");
}

TEST_CASE("Processor: every field that transformers or a released file has is in the tables") {
  std::ifstream in(LAMINA_GOLDEN_DIR "/checkpoint/fields.json");
  const auto fields = nlohmann::json::parse(in);
  const auto check_listed = [](const nlohmann::json& names, std::span<const io::Field> table) {
    for (const std::string name : names) {
      INFO(name);
      CHECK(io::find_field(table, name));
    }
  };
  check_listed(fields["preprocessor_config"], vision::detail::image_fields);
  check_listed(fields["size"], vision::detail::size_fields);
  check_listed(fields["processor_config"], vision::detail::processor_fields);
}

TEST_CASE("Processor: a refused field is an error with any other value, one without effect changes nothing") {
  const ModelDir dir;
  const auto load_with = [&](const std::string& name, const nlohmann::json& value) {
    dir.write("preprocessor_config.json", nlohmann::json{{name, value}}.dump());
    return Processor::load(dir.path, qwen_vl::processor);
  };
  for (const io::Field& field : vision::detail::image_fields_of(qwen_vl::processor)) {
    const std::string name(field.name);
    INFO(name);
    if (field.use == io::FieldUse::refused) {
      CHECK(golden::contains(golden::error_of([&] { load_with(name, 12345); }), name + " is 12345, wanted "));
      for (const auto& accepted : nlohmann::json::parse(field.only)) CHECK_NOTHROW(load_with(name, accepted));
    } else if (field.use == io::FieldUse::no_effect) {
      const Processor p = load_with(name, 12345), plain{qwen_vl::processor};
      CHECK((p.patch_size == plain.patch_size && p.min_pixels == plain.min_pixels && p.max_pixels == plain.max_pixels &&
             p.mean == plain.mean && p.std == plain.std));
    }
  }
}

TEST_CASE("Processor: patches of another size than the tower's are refused") {
  Processor p{qwen_vl::processor};
  TowerConfig tower;
  tower.patch_size = 14, tower.temporal_patch_size = 2, tower.spatial_merge_size = 2;
  CHECK_NOTHROW(p.require_patches_of(tower, "m"));
  p.merge_size = 4;
  CHECK(
      golden::error_of([&] { p.require_patches_of(tower, "m"); }) ==
      "m: merge_size of the image processor is 4, vision_config.spatial_merge_size of config.json is 2: are both files "
      "those of the same model?");
}
