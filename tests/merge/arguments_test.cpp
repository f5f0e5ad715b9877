#include <lamina/merge/arguments.hpp>

#include <set>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

using namespace lamina;
using merge::make_arguments;

namespace {
const std::string example = std::string(LAMINA_SOURCE_DIR) + "/examples/configs/qwen3_vl_merge.yaml";
merge::MergeArguments parsed(std::vector<std::string> words) { return make_arguments(words); }
std::string request_error(std::vector<std::string> words) {
  return error_of([&] { parsed(words); });
}
/// Enough for a request, and more words.
std::vector<std::string> minimal(std::vector<std::string> more) {
  std::vector<std::string> words = {"--model_name_or_path", "m", "--export_dir", "o"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}
}  // namespace

TEST_CASE("lamina-merge: the workflow's YAML is read as it is") {
  const merge::MergeArguments r = parsed({example});
  CHECK(r.options.model_name_or_path == "./qwen3_vl_model");
  CHECK(r.options.adapter_name_or_path == std::vector<std::filesystem::path>{"saves/qwen3vl-2b/lora/sft"});
  CHECK(r.options.export_dir == "output/qwen3vl_lora_sft");
  CHECK(r.options.export_size == 5);
  CHECK(r.options.template_name == "qwen3_vl");
  CHECK(!r.options.infer_dtype);
  REQUIRE(r.notes.size() == 1);
  CHECK(contains(r.notes[0], "trust_remote_code"));
}

TEST_CASE("lamina-merge: overrides and flags win over the file") {
  const merge::MergeArguments r = parsed({example, "export_size=2.5", "--infer-dtype", "float16",
                                          "adapter_name_or_path=a, b/c", "template=null", "--trust_remote_code"});
  CHECK(r.options.export_size == 2.5);
  CHECK(r.options.infer_dtype == DType::F16);
  CHECK(r.options.adapter_name_or_path == std::vector<std::filesystem::path>{"a", "b/c"});
  CHECK(r.options.template_name.empty());
  const auto inside = parsed(minimal({"--adapter_name_or_path=x", "--adapter_folder", "sub"}));
  CHECK(inside.options.adapter_name_or_path[0] == "x");
  CHECK(inside.adapter_folder == "sub");
  CHECK(parsed(minimal({"--adapter_folder", "sub"})).notes.back() ==
        "adapter_folder has no effect without adapter_name_or_path");
}

TEST_CASE("lamina-merge: JSON and lists are read too") {
  Scratch dir;
  spill(dir / "m.json",
        R"({"model_name_or_path": "m", "adapter_name_or_path": ["a", "b"], "export_dir": "o", "export_size": 1})");
  CHECK(parsed({(dir / "m.json").string()}).options.adapter_name_or_path.size() == 2);
  const auto adapters = parsed(minimal({"adapter_name_or_path=[a, b]"})).options.adapter_name_or_path;
  CHECK(adapters == std::vector<std::filesystem::path>{"a", "b"});
}

TEST_CASE("lamina-merge: what LLaMA-Factory's export takes and a merge does not use is taken, and said to be unused") {
  for (const std::string key : {"lora_rank", "cutoff_len", "pref_beta", "galore_rank", "temperature", "vllm_config"}) {
    CAPTURE(key);
    const auto notes = parsed(minimal({key + "=1"})).notes;
    REQUIRE(notes.size() == 1);
    CHECK(contains(notes[0], key));
  }
  CHECK(contains(request_error(minimal({"learning_rate=1"})), "learning_rate"));
}

TEST_CASE("lamina-merge: an unknown key is an error that suggests the nearest known one") {
  CHECK(contains(request_error({example, "exprt_dir=x"}), "exprt_dir is not a known key (did you mean export_dir?)"));
  CHECK(contains(request_error(minimal({"--adapter-name-or-pth", "x"})), "did you mean adapter_name_or_path?"));
  CHECK(contains(request_error(minimal({"zzzzzzzzz=1"})), "--help lists"));
  CHECK(contains(request_error({"merge.yaml.txt"}), "merge.yaml.txt is neither a .yaml"));
}

TEST_CASE("lamina-merge: a value that cannot be honoured is refused, a neutral one is not") {
  CHECK(contains(request_error(minimal({"export_quantization_bit=4"})), "quantising on export is not supported"));
  CHECK(request_error(minimal({"resize_vocab=true"})) == "");
  CHECK(request_error(minimal({"resize_vocab=false", "quantization_bit=null"})) == "");
  CHECK(contains(request_error(minimal({"stage=rm"})), "stage is rm, wanted sft"));
  CHECK(contains(request_error(minimal({"export_device=cuda"})), "wanted cpu, auto"));
  CHECK(contains(request_error(minimal({"infer_dtype=int8"})), "wanted auto, bfloat16"));
  CHECK(contains(request_error(minimal({"export_size=big"})), "wanted a number"));
  CHECK(contains(request_error(minimal({"export_legacy_format=maybe"})), "wanted true or false"));
  CHECK(contains(parsed(minimal({"export_legacy_format=true"})).notes[0], "always written as safetensors"));
  CHECK(contains(request_error(minimal({"adapter_name_or_path=a", "finetuning_type=full"})),
                 "finetuning_type: full has no adapter"));
  CHECK(request_error(minimal({"finetuning_type=full"})) == "");
  CHECK(contains(request_error({"export_dir=x"}), "model_name_or_path is missing"));
}

TEST_CASE("lamina-merge: a broken file is named") {
  Scratch dir;
  const auto file_error = [&](const char* text) {
    spill(dir / "m.yaml", text);
    return request_error({(dir / "m.yaml").string()});
  };
  CHECK(contains(file_error("a: [1"), "not readable as YAML"));
  CHECK(contains(file_error("- a\n- b\n"), "wanted `key: value` lines"));
  CHECK(contains(file_error("export_dir: a\nexport_dir: b\n"), "line 2: export_dir is set twice"));
  CHECK(contains(file_error("export_dir: {a: b}\n"), "wanted one value"));
  CHECK(contains(file_error("model_name_or_path: m\n---\nexport_dir: o\n"), "second YAML document"));
  CHECK(contains(file_error("export_dir: ${x}\n"), "interpolation is not supported"));
  CHECK(contains(file_error("seed: 1\nexport_dir: \xff\n"), "line 2, export_dir: the value is not UTF-8 text"));
  CHECK(contains(request_error(minimal({"export_dir=caf\xe9"})), "export_dir line 1: the value is not UTF-8 text"));
  CHECK(contains(request_error({(dir / "absent.yaml").string()}), "cannot open"));
}

TEST_CASE("lamina-merge: no key is twice in the table, and each has a word about it") {
  std::set<std::string_view> names;
  for (const merge::MergeKey& key : merge::all_keys()) {
    INFO(key.name);
    CHECK(names.insert(key.name).second);
    CHECK_FALSE(key.note.empty());
  }
  CHECK(contains(io::help_lines(merge::all_keys()), "(10^9 bytes); default 5\n"));
}
