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
    for (const char* name : {"HF_ENDPOINT", "MODELSCOPE_ENDPOINT"}) ::setenv(name, server.url().c_str(), 1);
    for (const char* name : {"HF_HUB_CACHE", "MODELSCOPE_CACHE"}) ::setenv(name, cache.c_str(), 1);
    ::setenv("no_proxy", "127.0.0.1", 1);
  }
  ~ServedFolder() {
    for (const char* name : {"HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "HF_HUB_CACHE", "MODELSCOPE_CACHE", "no_proxy"})
      ::unsetenv(name);
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
  CHECK(contains(absent.output, cat("test/other: is no folder here, and not to be had from ", hub.server.url())));
  CHECK(hub.server.seen().size() == before);
  ::unsetenv("HF_HUB_OFFLINE");
}

TEST_CASE("Programs: keys, flags and variables of hubs reach the hub") {
  const TemporaryFolder folder;
  const fs::path served = folder.path() / "served", cache = folder.path() / "cache";
  REQUIRE(make_model("qwen3_vl_tiny", served).status == 0);
  ServedFolder hub(served, cache);
  hub.server.token = "hf_secret";
  const auto train = [&](const std::string& token) {
    return run_program("lamina-train",
                       {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml", "model_name_or_path=test/model",
                        "dataset_dir=" LAMINA_SOURCE_DIR "/data", "output_dir=" + (folder.path() / "out").string(),
                        "dataset=tables_train", "max_samples=2", "val_size=0", "do_eval=false", "eval_strategy=no",
                        "model_revision=v1.0", "cache_dir=" + (folder.path() / "mine").string(),
                        "hf_hub_token=" + token, "--dry-run"});
  };
  const Program refused = train("hf_other");
  CHECK(refused.status == 1);
  CHECK(contains(refused.output, "the token of hf_hub_token does not open it"));
  const Program trained = train("hf_secret");
  INFO(trained.output);
  CHECK(trained.status == 0);
  CHECK(text_of(folder.path() / "mine/models--test--model/refs/v1.0") == hub.server.commit);
  CHECK(!fs::exists(cache));

  ::setenv("HF_TOKEN", "hf_secret", 1);
  const Program asked =
      run_program("lamina-chat", {"--model", "test/model", "--prompt", "x", "--max-tokens", "2", "--greedy",
                                  "--revision", "v1.0", "--download-dir", (folder.path() / "theirs").string()});
  INFO(asked.output);
  CHECK(asked.status == 0);
  CHECK(text_of(folder.path() / "theirs/models--test--model/refs/v1.0") == hub.server.commit);
  const std::string file = (folder.path() / "file").string();
  std::ofstream(file) << "x";
  CHECK(contains(run_program("lamina-chat", {"--model", "test/model", "--prompt", "x", "--download-dir", file}).output,
                 cat("--download-dir: ", file, ": is a file, wanted a folder")));
  ::unsetenv("HF_TOKEN");

  ::setenv("USE_MODELSCOPE_HUB", "1", 1);
  ::setenv("MODELSCOPE_API_TOKEN", "hf_secret", 1);
  const Program made = run_program("lamina-init", {"--model", "test/model", "--out", folder.path() / "made"});
  INFO(made.output);
  CHECK(made.status == 0);
  CHECK(fs::exists(cache / "models/test--model/snapshots/master/config.json"));
  for (const char* name : {"USE_MODELSCOPE_HUB", "MODELSCOPE_API_TOKEN"}) ::unsetenv(name);
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

TEST_CASE("lamina-train: of a hub's data set the images that the used records name are fetched, and no others") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  REQUIRE(make_model("qwen3_vl_tiny", model).status == 0);
  ServedFolder hub(folder.path() / "nothing", folder.path() / "cache");
  std::vector<std::string> images;
  for (const auto& entry : fs::recursive_directory_iterator(LAMINA_SOURCE_DIR "/data"))
    if (entry.path().extension() == ".png" && images.size() < 4) images.push_back(text_of(entry.path()));
  REQUIRE(images.size() == 4);
  const auto record = [](const std::string& image) {
    return nlohmann::json{
               {"messages",
                {{{"role", "user"}, {"content", "<image>what?"}}, {{"role", "assistant"}, {"content", "x"}}}},
               {"images", {image}}}
               .dump() +
           "\n";
  };
  // beside the records' file, from the top of the repository, and on this machine
  fs::create_directories(folder.path() / "media/mine");
  std::ofstream(folder.path() / "media/mine/c.png", std::ios::binary) << images[2];
  hub.server.repositories["datasets/test/pictures"] = {
      {"data/train.jsonl",
       {record("images/a.png") + record("other/b.png") + record("mine/c.png") + record("never/d.png")}},
      {"data/images/a.png", {images[0], true}},
      {"other/b.png", {images[1], true}},
      {"mine/c.png", {images[2], true}},
      {"never/d.png", {images[3], true}}};
  const bool ms = GENERATE(false, true);
  std::ofstream(folder.path() / "dataset_info.json")
      << R"({"x": {")" << (ms ? "ms" : "hf") << R"(_hub_url": "test/pictures", "formatting": "sharegpt",
                   "columns": {"messages": "messages", "images": "images"},
                   "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
                            "assistant_tag": "assistant"}}})";
  const auto train = [&](const std::string& max_samples) {
    return run_program(
        "lamina-train",
        {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml", "model_name_or_path=" + model.string(),
         "dataset_dir=" + folder.path().string(), "media_dir=" + (folder.path() / "media").string(),
         "output_dir=" + (folder.path() / "out").string(), "dataset=x", "val_size=0", "do_eval=false",
         "eval_strategy=no", "max_samples=" + max_samples, "--dry-run"});
  };
  const fs::path snapshot = ms ? folder.path() / "cache/datasets/test--pictures/snapshots/master"
                               : folder.path() / "cache/datasets--test--pictures/snapshots" / hub.server.commit;
  const Program first = train("3");
  INFO(first.output);
  REQUIRE(first.status == 0);
  CHECK(names_in(snapshot) == std::set<std::string>{"data/train.jsonl", "data/images/a.png", "other/b.png"});
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  const std::size_t before = hub.server.seen().size();
  CHECK(train("3").status == 0);
  const Program absent = train("4");
  CHECK(absent.status == 1);
  CHECK(contains(absent.output, "never/d.png"));
  CHECK(hub.server.seen().size() == before);
  ::unsetenv("HF_HUB_OFFLINE");
  CHECK(train("4").status == 0);
  CHECK(fs::exists(snapshot / "never/d.png"));
  CHECK(!fs::exists(snapshot / "mine/c.png"));
}

TEST_CASE("Programs: an adapter by its name on a hub together with adapter_folder") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model", adapter = folder.path() / "adapter", out = folder.path() / "merged";
  REQUIRE(make_model("qwen3_vl_tiny", model).status == 0);
  const Program trained =
      run_program("lamina-train", {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml",
                                   "model_name_or_path=" + model.string(), "dataset_dir=" LAMINA_SOURCE_DIR "/data",
                                   "output_dir=" + adapter.string(), "dataset=tables_train", "max_samples=2",
                                   "max_steps=1", "val_size=0", "do_eval=false", "eval_strategy=no"});
  INFO(trained.output);
  REQUIRE(trained.status == 0);
  ServedFolder hub(folder.path() / "nothing", folder.path() / "cache");
  HubFiles& files = hub.server.repositories["models/test/adapters"];
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"})
    files[cat("epochs/2/", name)] = {text_of(adapter / name), true}, files[cat("epochs/1/", name)] = {"wrong", true};
  const auto merge = [&](const std::string& inside) {
    return run_program("lamina-merge", {"model_name_or_path=" + model.string(), "adapter_name_or_path=test/adapters",
                                        "adapter_folder=" + inside, "export_dir=" + out.string()});
  };
  const Program merged = merge("epochs/2/");
  INFO(merged.output);
  CHECK(merged.status == 0);
  CHECK(names_in(folder.path() / "cache/models--test--adapters/snapshots" / hub.server.commit) ==
        std::set<std::string>{"epochs/2/adapter_config.json", "epochs/2/adapter_model.safetensors"});
  const Program none = merge("epochs/3");
  CHECK(none.status == 1);
  CHECK(contains(none.output, "none is part of a model or an adapter in its folder epochs/3"));
  CHECK(contains(merge("../x").output, "adapter_folder: is ../x, wanted a folder inside of test/adapters"));

  const Program continued =
      run_program("lamina-train", {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml",
                                   "model_name_or_path=" + model.string(), "adapter_name_or_path=test/adapters",
                                   "adapter_folder=epochs/2", "dataset_dir=" LAMINA_SOURCE_DIR "/data",
                                   "output_dir=" + (folder.path() / "more").string(), "dataset=tables_train",
                                   "max_samples=2", "max_steps=1", "val_size=0", "do_eval=false", "eval_strategy=no"});
  INFO(continued.output);
  CHECK(continued.status == 0);
}

TEST_CASE("Programs: what would be uploaded is refused, with the command that does it") {
  const Program merge =
      run_program("lamina-merge", {"model_name_or_path=x", "export_dir=y", "export_hub_model_id=a/b"});
  CHECK(merge.status == 2);
  CHECK(contains(merge.output, "export_hub_model_id: a/b is refused"));
  CHECK(contains(merge.output, "hf upload OWNER/NAME EXPORT_DIR"));
  CHECK(run_program("lamina-merge", {"model_name_or_path=x", "export_dir=y", "push_to_hub=true"}).status == 2);
}
