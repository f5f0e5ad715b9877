#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/model/qwen_vl/names.hpp>
#include "scratch.hpp"
#include "support/catch.hpp"

#include <nlohmann/json.hpp>

using namespace lamina;
using namespace lamina::checkpoint;

namespace {
/// A copy of the sharded golden model that a test may damage.
void copy_model(const std::filesystem::path& to) {
  std::filesystem::copy(golden("tiny2_5"), to, std::filesystem::copy_options::recursive);
}
constexpr const char* index_name = "model.safetensors.index.json";
std::string open_with_index(const Scratch& dir, const nlohmann::json& index) {
  spill(dir / index_name, index.dump());
  return error_of([&] { Checkpoint::open(dir.dir(), qwen_vl::names); });
}
}  // namespace

TEST_CASE("Sharded checkpoint: transformers' shards open as one, by folder and by index") {
  const Checkpoint c = Checkpoint::open(golden("tiny2_5"), qwen_vl::names);
  CHECK(c.files().size() == 5);
  CHECK(c.tensors().size() == 57);
  CHECK(Checkpoint::open(golden("tiny2_5") / index_name).tensors().size() == 57);
  CHECK(c.data("lm_head.weight").size() == 40 * 16 * 2);
}

TEST_CASE("Sharded checkpoint: an index that lies is an error that names the tensor and the file") {
  Scratch dir;
  copy_model(dir.dir());
  const nlohmann::json good = nlohmann::json::parse(slurp(dir / index_name));
  CHECK(open_with_index(dir, good) == "");

  auto index = good;
  index["weight_map"]["lm_head.weight"] = "model-00002-of-00005.safetensors";
  CHECK(
      contains(open_with_index(dir, index), "lm_head.weight is in model-00002-of-00005.safetensors, but model-00001"));
  index = good;
  index["weight_map"]["ghost"] = "model-00002-of-00005.safetensors";
  CHECK(contains(open_with_index(dir, index),
                 "tensor ghost is in model-00002-of-00005.safetensors, which does not hold"));
  index = good;
  index["weight_map"].erase("lm_head.weight");
  CHECK(contains(open_with_index(dir, index), "does not list tensor lm_head.weight"));
  index = good;
  index["weight_map"]["lm_head.weight"] = "../../etc/passwd";
  CHECK(contains(open_with_index(dir, index), "wanted a file of the same folder"));
  index["weight_map"]["lm_head.weight"] = 7;
  CHECK(contains(open_with_index(dir, index), "wanted a file name"));
  CHECK(contains(open_with_index(dir, {{"weight_map", nlohmann::json::object()}}), "weight_map is empty"));
  CHECK(contains(open_with_index(dir, {{"metadata", 1}}), "has no weight_map"));
  CHECK(contains(open_with_index(dir, 3), "has no weight_map"));
  spill(dir / index_name, "{");
  CHECK(contains(error_of([&] { Checkpoint::open(dir.dir(), qwen_vl::names); }), "not valid JSON"));
}

TEST_CASE("Sharded checkpoint: a missing shard and missing weights are named") {
  Scratch dir;
  copy_model(dir.dir());
  std::filesystem::remove(dir / "model-00003-of-00005.safetensors");
  CHECK(contains(error_of([&] { Checkpoint::open(dir.dir(), qwen_vl::names); }),
                 "model-00003-of-00005.safetensors: missing"));
  std::filesystem::remove(dir / index_name);
  CHECK(contains(error_of([&] { Checkpoint::open(dir.dir(), qwen_vl::names); }),
                 "of-00005.safetensors but no model.safetensors.index.json that says which shards there are"));
  Scratch empty;
  CHECK(contains(error_of([&] { Checkpoint::open(empty.dir()); }), "is this a model directory?"));
  CHECK(contains(error_of([&] { Checkpoint::open(empty / "nowhere"); }), "no such file or folder"));
  spill(empty / "pytorch_model.bin", "x");
  CHECK(contains(error_of([&] { Checkpoint::open(empty.dir()); }), "pickled weights are not read"));
}

TEST_CASE("Sharded checkpoint: the index equals transformers' own byte for byte") {
  const Checkpoint c = Checkpoint::open(golden("tiny2_5"), qwen_vl::names);
  std::vector<std::vector<TensorInfo>> shards;
  for (const TensorFile& file : c.files()) {
    shards.emplace_back();
    for (const TensorEntry& e : file.entries()) shards.back().push_back(e.info);
  }
  CHECK(checkpoint::detail::index_text(shards) == slurp(golden("tiny2_5") / index_name));
}

TEST_CASE("Sharded checkpoint: writing splits at the limit, and what is written opens to the same tensors") {
  Scratch dir;
  const Checkpoint c = Checkpoint::open(golden("tiny2_5"), qwen_vl::names);
  std::vector<TensorData> tensors;
  for (const TensorInfo& t : c.tensors()) tensors.push_back({t.name, t.dtype, t.shape, c.data(t.name)});
  for (const std::uint64_t limit : {5'000u, 9'000u, 1'000'000u}) {
    const auto names = write_sharded(dir.dir(), tensors, limit);
    const Checkpoint back = Checkpoint::open(dir.dir(), qwen_vl::names);
    REQUIRE(back.tensors().size() == tensors.size());
    for (const TensorData& t : tensors) {
      REQUIRE(back.at(t.name).shape == t.shape);
      REQUIRE(std::equal(t.data.begin(), t.data.end(), back.data(t.name).begin()));
    }
    std::size_t files = 0;  // weights of the save before, in other shards, are gone
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.dir())) ++files;
    CHECK(files == names.size());
    for (const TensorFile& file : back.files()) {
      std::uint64_t bytes = 0;
      for (const TensorEntry& e : file.entries()) bytes += e.info.bytes;
      CHECK((bytes <= limit || file.entries().size() == 1));
    }
  }
  CHECK(std::filesystem::exists(dir / "model.safetensors"));
}

TEST_CASE("Sharded checkpoint: shards are planned as Hugging Face plans them") {
  const auto info = [](const char* name, std::size_t bytes) {
    return TensorInfo{name, DType::U8, {static_cast<std::int64_t>(bytes)}, bytes};
  };
  const std::vector<TensorInfo> tensors = {info("a", 4), info("b", 20), info("c", 6), info("d", 1), info("e", 10)};
  const auto shards = plan_shards(tensors, 10);  // b has a file of its own, closed before a's
  std::vector<std::string> names;
  for (const auto& shard : shards) {
    names.emplace_back();
    for (const TensorInfo& t : shard) names.back() += t.name;
  }
  CHECK(names == std::vector<std::string>{"b", "ac", "d", "e"});
  CHECK(shard_name(1, 12) == "model-00002-of-00012.safetensors");
  CHECK(shard_name(0, 1) == "model.safetensors");
}
