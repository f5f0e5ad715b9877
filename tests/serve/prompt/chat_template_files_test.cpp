#include <lamina/serve/model_files.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "serve/message_of.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::serve;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A model's folder without a template; removed at the end.
struct Folder {
  explicit Folder(const std::string& model) : path("serve_template_" + model) {
    fs::remove_all(path);
    fs::copy(fs::path(LAMINA_SOURCE_DIR "/data") / model, path);
    fs::remove(path / "chat_template.json");
    auto config = Json::parse(read(path / "tokenizer_config.json"));
    config.erase("chat_template");
    write("tokenizer_config.json", config.dump());
  }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
  }
  void write_config(const std::string& name, const Json& chat_template) const {
    auto config = fs::exists(path / name) ? Json::parse(read(path / name)) : Json::object();
    config["chat_template"] = chat_template;
    write(name, config.dump());
  }
  ModelFiles load(const std::string& given = {}) const { return ModelFiles::load(path, {}, given); }
  std::string refusal(const std::string& given = {}) const {
    return test::message_of([&] { load(given); });
  }
  fs::path path;
};

const std::string released(qwen3_vl::released_template);

std::string edited() {
  std::string text = released;
  return text.replace(text.rfind("assistant\\n"), 11, "assistant\\n<think>\\n");
}

}  // namespace

TEST_CASE("chat template: the built-in texts are the released ones") {
  const fs::path source = LAMINA_SOURCE_DIR;
  const auto shipped = [&](const char* model) {
    return Json::parse(read(source / "data" / model / "chat_template.json"))["chat_template"];
  };
  CHECK(shipped("qwen3_vl_tiny") == released);
  CHECK(shipped("qwen2_5_vl_tiny") == qwen2_5_vl::released_template);
  for (const char* model : {"qwen3_vl_tiny", "qwen2_5_vl_tiny", "qwen3_vl_nano"})
    CHECK(ModelFiles::load(source / "data" / model).notes.empty());
}

TEST_CASE("chat template: a folder without one is served with the released one, and says so") {
  const Folder folder("qwen3_vl_tiny");
  const auto notes = folder.load().notes;
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("has no chat template") != std::string::npos);
}

TEST_CASE("chat template: that of the folder is used, whichever file it is in") {
  const std::vector<text::Message> question{{"user", {{text::Part::Kind::text, "Hi"}}}};
  const auto prompt = [&](const ModelFiles& files) { return text::joined(files.chat_template.render(question)); };
  for (const char* name :
       {"chat_template.json", "chat_template.jinja", "tokenizer_config.json", "processor_config.json"}) {
    const Folder folder("qwen3_vl_tiny");
    CHECK(prompt(folder.load()).ends_with("<|im_start|>assistant\n"));
    const std::string file = name;
    file.ends_with(".json") ? folder.write_config(file, edited()) : folder.write(file, edited());
    const auto files = folder.load();
    CHECK(files.notes.empty());
    CHECK(files.chat_template.source().find(name) != std::string::npos);
    CHECK(prompt(files).ends_with("<|im_start|>assistant\n<think>\n"));
  }
}

TEST_CASE("chat template: one that cannot be read is refused with its file and line") {
  const Folder folder("qwen3_vl_tiny");
  folder.write("chat_template.jinja", "{%- if tools %}\n{% include 'x' %}{% endif %}");
  CHECK(folder.refusal().find("chat_template.jinja: chat template line 2: {% include %} is not supported") !=
        std::string::npos);
}

TEST_CASE("chat template: tokens of tokenizer_config.json are variables") {
  const Folder folder("qwen3_vl_tiny");
  auto config = Json::parse(read(folder.path / "tokenizer_config.json"));
  config["eos_token"] = {{"content", "<|im_end|>"}, {"special", true}};
  folder.write("tokenizer_config.json", config.dump());
  folder.write("chat_template.jinja", "{{ eos_token }}{{ bos_token is defined }}");
  CHECK(text::joined(folder.load().chat_template.render({})) == "<|im_end|>False");
}

TEST_CASE("chat template: the first file in transformers' order holds, another text behind it is noted") {
  const Folder folder("qwen3_vl_tiny");
  folder.write_config("tokenizer_config.json", edited());
  folder.write("chat_template.jinja", released);
  REQUIRE(folder.load().notes.size() == 1);
  CHECK(folder.load().notes[0].find("tokenizer_config.json: its chat template is not used") != std::string::npos);
  folder.write_config("processor_config.json", released);
  CHECK(folder.load().notes.size() == 1);
  folder.write_config("chat_template.json", edited());
  CHECK(folder.load().notes.size() == 2);
}

TEST_CASE("chat template: of several the one named default is meant") {
  const Folder folder("qwen3_vl_tiny");
  const auto list = [](const std::string& name, const std::string& text) {
    return Json::array({{{"name", "rag"}, {"template", "x"}}, {{"name", name}, {"template", text}}});
  };
  folder.write_config("tokenizer_config.json", list("default", released));
  CHECK(folder.load().chat_template.text() == released);
  folder.write_config("tokenizer_config.json", list("tool_use", released));
  CHECK(folder.refusal().find("one named \"default\"") != std::string::npos);
  folder.write_config("tokenizer_config.json", {{"default", released}});
  CHECK(folder.load().notes.empty());
  folder.write_config("tokenizer_config.json", 7);
  CHECK(folder.refusal().find("chat_template is number") != std::string::npos);
}

TEST_CASE("chat template: files that are too large or broken are refused by name") {
  const Folder folder("qwen3_vl_tiny");
  folder.write("chat_template.jinja", std::string((1 << 20) + 1, ' '));
  CHECK(folder.refusal().find("chat_template.jinja: has 1048577 bytes, more than the 1048576") != std::string::npos);
  folder.write("chat_template.jinja", released);
  folder.write("chat_template.json", "{");
  CHECK(folder.refusal().find("chat_template.json: not valid JSON: line 1, column 2: the text ends") !=
        std::string::npos);
}

TEST_CASE("chat template: --chat-template wins over the folder's, as a file or as text") {
  const Folder folder("qwen3_vl_tiny");
  folder.write("chat_template.jinja", edited());
  CHECK(folder.load(released).chat_template.text() == released);
  folder.write("given.jinja", released);
  CHECK(folder.load((folder.path / "given.jinja").string()).chat_template.text() == released);
  CHECK(folder.refusal("{{ messages").find("--chat-template: chat template line 1: ") != std::string::npos);
  CHECK(folder.refusal("no_such_file.jinja").find("is not a file") != std::string::npos);
}
