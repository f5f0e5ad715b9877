// Programs that are given the name of a repository where a folder may stand, with a hub on the loopback interface.
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "hub/hub_folder.hpp"
#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// Programs started while this lives ask a hub that holds the files of a folder as test/model.
class ServedFolder {
 public:
  ServedFolder(const fs::path& served, const fs::path& cache) {
    HubFiles& files = server.repositories["models/test/model"];
    for (const std::string& name : names_in(served))
      files[name] = {text_of(served / name), name.ends_with(".safetensors")};
    ::setenv("HF_ENDPOINT", server.url().c_str(), 1);
    ::setenv("HF_HUB_CACHE", cache.c_str(), 1);
    ::setenv("no_proxy", "127.0.0.1", 1);
  }
  ~ServedFolder() {
    for (const char* name : {"HF_ENDPOINT", "HF_HUB_CACHE", "no_proxy"}) ::unsetenv(name);
  }
  HubServer server;
};

}  // namespace

TEST_CASE("Programs: a repository's name stands for its folder, in each of them") {
  const TemporaryFolder folder;
  const fs::path served = folder.path() / "served", cache = folder.path() / "cache";
  REQUIRE(make_model("qwen3_vl_tiny", served).status == 0);
  ServedFolder hub(served, cache);

  const Program copied = run_program("lamina-init", {"--model", "test/model", "--out", folder.path() / "copied"});
  INFO(copied.output);
  REQUIRE(copied.status == 0);
  CHECK(text_of(folder.path() / "copied/model.safetensors") == text_of(served / "model.safetensors"));
  const auto snapshot = cache / "models--test--model/snapshots" / hub.server.commit;
  CHECK(!fs::exists(snapshot / "model.safetensors"));  // lamina-init makes its own weights

  const Program trained =
      run_program("lamina-train", {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml",
                                   "model_name_or_path=test/model", "dataset_dir=" LAMINA_SOURCE_DIR "/data",
                                   "output_dir=" + (folder.path() / "adapter").string(), "dataset=tables_train",
                                   "max_samples=2", "max_steps=1", "val_size=0", "do_eval=false", "eval_strategy=no"});
  INFO(trained.output);
  REQUIRE(trained.status == 0);
  CHECK(names_in(snapshot) == names_in(served));
  const auto config = nlohmann::json::parse(text_of(folder.path() / "adapter/adapter_config.json"));
  CHECK(config["base_model_name_or_path"] == "test/model");
  CHECK(contains(text_of(folder.path() / "adapter/README.md"), "base_model: \"test/model\""));

  // from here on nothing is fetched
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  const std::size_t before = hub.server.seen().size();
  const Program merged = run_program(
      "lamina-merge", {"model_name_or_path=test/model", "adapter_name_or_path=" + (folder.path() / "adapter").string(),
                       "export_dir=" + (folder.path() / "merged").string()});
  INFO(merged.output);
  CHECK(merged.status == 0);
  CHECK(contains(text_of(folder.path() / "merged/README.md"), "base_model: \"test/model\""));
  const Program asked =
      run_program("lamina-chat", {"--model", "test/model", "--prompt", "x", "--max-tokens", "2", "--greedy"});
  INFO(asked.output);
  CHECK(asked.status == 0);
  const Program absent = run_program("lamina-chat", {"--model", "test/other", "--prompt", "x"});
  CHECK(absent.status == 1);
  CHECK(contains(absent.output, "test/other: is no folder here, and not to be had from Hugging Face"));
  CHECK(hub.server.seen().size() == before);
  ::unsetenv("HF_HUB_OFFLINE");
}

TEST_CASE("lamina-train: records of a hub's data set are fetched once") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  REQUIRE(make_model("qwen3_vl_tiny", model).status == 0);
  ServedFolder hub(folder.path() / "nothing", folder.path() / "cache");
  hub.server.repositories["datasets/test/tables"] = {
      {"README.md", {"# tables\n"}},
      {"train.json", {text_of(LAMINA_SOURCE_DIR "/data/tables/tables_train.json"), true}},
      {"test.json", {"[]"}}};
  std::ofstream(folder.path() / "dataset_info.json")
      << R"({"x": {"hf_hub_url": "test/tables", "split": "train[:2]", "formatting": "sharegpt",
                   "columns": {"messages": "messages", "images": "images"},
                   "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
                            "assistant_tag": "assistant", "system_tag": "system"}}})";
  const std::vector<std::string> words = {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml",
                                          "model_name_or_path=" + model.string(),
                                          "dataset_dir=" + folder.path().string(),
                                          "media_dir=" LAMINA_SOURCE_DIR "/data",
                                          "output_dir=" + (folder.path() / "out").string(),
                                          "dataset=x",
                                          "val_size=0",
                                          "do_eval=false",
                                          "eval_strategy=no",
                                          "--dry-run"};
  const Program first = run_program("lamina-train", words);
  INFO(first.output);
  REQUIRE(first.status == 0);
  CHECK(fs::exists(folder.path() / "cache/datasets--test--tables/snapshots" / hub.server.commit / "train.json"));
  CHECK(!fs::exists(folder.path() / "cache/datasets--test--tables/snapshots" / hub.server.commit / "test.json"));
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  const std::size_t before = hub.server.seen().size();
  CHECK(run_program("lamina-train", words).status == 0);
  CHECK(hub.server.seen().size() == before);
  ::unsetenv("HF_HUB_OFFLINE");
}

TEST_CASE("Programs: what would be uploaded is refused, with the command that does it") {
  const Program merge =
      run_program("lamina-merge", {"model_name_or_path=x", "export_dir=y", "export_hub_model_id=a/b"});
  CHECK(merge.status == 2);
  CHECK(contains(merge.output, "export_hub_model_id: a/b is refused"));
  CHECK(contains(merge.output, "hf upload OWNER/NAME EXPORT_DIR"));
  CHECK(run_program("lamina-merge", {"model_name_or_path=x", "export_dir=y", "push_to_hub=true"}).status == 2);
}
