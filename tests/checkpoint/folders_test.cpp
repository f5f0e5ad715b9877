#include <lamina/checkpoint/adapter.hpp>
#include <lamina/model/config/read.hpp>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::checkpoint;
using lamina::testing::notes_of;

namespace {
constexpr std::string_view lfs_pointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

std::string model_error(const std::filesystem::path& path) {
  return error_of([&] { ModelConfig::load(path); });
}
std::string adapter_error(const std::filesystem::path& path) {
  return error_of([&] { Adapter::load(path); });
}
void copy_adapter(const Scratch& to) {
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"})
    spill(to / name, slurp(golden("tiny3_adapter") / name));
}
}  // namespace

TEST_CASE("Folders: what is no model's folder is told apart, with what to do") {
  const std::string hub = model_error("Qwen/Qwen3-VL-2B-Instruct");
  CHECK(
      ::contains(hub, "Qwen/Qwen3-VL-2B-Instruct: no such folder. If it is the name of a model on a hub, download it"));
  CHECK(::contains(hub, "lamina-download Qwen/Qwen3-VL-2B-Instruct --local-dir FOLDER"));
  CHECK(
      ::contains(model_error("/nowhere/at/all"), "/nowhere/at/all: no such folder, wanted one that holds config.json"));
  CHECK(!::contains(model_error("./nowhere"), "hub"));

  const Scratch dir;
  spill(dir / "model.gguf", "x");
  CHECK(::contains(model_error(dir / "model.gguf"), "is a file, wanted the folder that holds config.json"));
  CHECK(::contains(model_error(dir.dir()), "config.json: no such file"));
  CHECK(::contains(model_error(dir.dir()), "a model directory, and its download complete?"));

  const std::string adapter = model_error(golden("tiny3_adapter"));
  CHECK(::contains(adapter,
                   "is the folder of an adapter (it holds adapter_config.json), not a model: give its base model"));
  CHECK(::contains(adapter, "or merge them with lamina-merge"));
  CHECK(::contains(model_error(golden("tiny3_adapter") / ""), "is the folder of an adapter"));

  std::filesystem::create_directories(dir / "snapshots/abc");
  CHECK(::contains(model_error(dir.dir()), "is a hub's cache: give one of the folders in"));
}

TEST_CASE("Folders: what is no adapter's folder is told apart, with what to do") {
  CHECK(::contains(adapter_error("me/my-lora"), "If it is the name of a model on a hub"));
  CHECK(::contains(adapter_error(golden("tiny3")), "It holds config.json: a whole model goes in as the model"));
  CHECK(::contains(adapter_error(golden("tiny3_adapter") / "adapter_config.json"), "is a file, wanted the folder"));
  const Scratch dir;
  copy_adapter(dir);
  std::filesystem::remove(dir / "adapter_model.safetensors");
  CHECK(::contains(adapter_error(dir.dir()), "adapter_model.safetensors: no such file next to adapter_config.json"));
}

TEST_CASE("Folders: weights next to an adapter are refused by name, what trainers keep for themselves is not") {
  const Scratch dir;
  copy_adapter(dir);
  for (const char* name : {"optimizer.pt", "optimizer.bin", "optimizer.safetensors", "scheduler.pt", "scaler.pt",
                           "rng_state.pth", "rng_state_0.pth", "training_args.bin", "tokenizer.json", "README.md"})
    spill(dir / name, "x");
  std::filesystem::create_directory(dir / "global_step10");
  CHECK(adapter_error(dir.dir()) == "");
  for (const char* name : {"non_lora_state_dict.bin", "vit.safetensors", "model.safetensors", "value_head.bin",
                           "projector.pt", "merger.pth", "pytorch_model.bin"}) {
    spill(dir / name, "x");
    CHECK(::contains(adapter_error(dir.dir()), cat("next to the adapter there is ", name, ", which may hold other")));
    std::filesystem::remove(dir / name);
  }
  spill(dir / "b.bin", "x");
  spill(dir / "a.bin", "x");
  CHECK(::contains(adapter_error(dir.dir()), "there is a.bin, b.bin, which may hold"));
  std::filesystem::remove(dir / "a.bin");
  std::filesystem::rename(dir / "b.bin", dir / "adapter_model.bin");
  CHECK(::contains(notes_of([&] { CHECK(adapter_error(dir.dir()) == ""); }),
                   "adapter_model.bin is not read: adapter_model.safetensors next to it is"));
}

TEST_CASE("Folders: a git-lfs pointer is named in place of weights, a config or an index") {
  const Scratch dir;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    spill(dir / name, lfs_pointer);
    CHECK(
        ::contains(error_of([&] { Checkpoint::open(dir.dir()); }), cat(name, ": is a git-lfs pointer, not the file")));
    std::filesystem::remove(dir / name);
  }
  spill(dir / "config.json", lfs_pointer);
  CHECK(::contains(model_error(dir.dir()), "config.json: is a git-lfs pointer"));
}
