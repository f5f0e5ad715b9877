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

TEST_CASE("chat template: another one is refused with its file, its first line that differs and what to do") {
  for (const char* name :
       {"chat_template.json", "chat_template.jinja", "tokenizer_config.json", "processor_config.json"}) {
    const Folder folder("qwen3_vl_tiny");
    const std::string file = name;
    const auto put = [&](const std::string& text) {
      file.ends_with(".json") ? folder.write_config(file, text) : folder.write(file, text);
    };
    put(edited());
    const auto message = folder.refusal();
    CHECK(message.find(name) != std::string::npos);
    CHECK(message.find(": line 119 ") != std::string::npos);
    CHECK(message.find("<think>") != std::string::npos);
    CHECK(message.find("put the released chat_template.json") != std::string::npos);
    put(released);
    CHECK(folder.load().notes.empty());
  }
}

TEST_CASE("chat template: line ends that Jinja does not tell apart may differ, nothing else") {
  const Folder folder("qwen3_vl_tiny");
  std::string crlf;
  for (const char c : released) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  for (const auto& same : {crlf, released + "\n", released + "\r\n"}) {
    folder.write("chat_template.jinja", same);
    CHECK(folder.load().notes.empty());
  }
  for (const auto& other : {released + "\n\n", released + " ", " " + released, std::string()}) {
    folder.write("chat_template.jinja", other);
    CHECK(folder.refusal().find("chat_template.jinja: line ") != std::string::npos);
  }
  folder.write("chat_template.jinja", released + "\n\n");
  CHECK(folder.refusal().find("line 121 of this chat template is \"\", that of the released template of "
                              "Qwen3-VL-Instruct is missing") != std::string::npos);
  folder.write("chat_template.jinja", released.substr(0, 5));
  CHECK(folder.refusal().find("line 1 of this chat template is \"{%- i\", that") != std::string::npos);
}

TEST_CASE("chat template: the first file in transformers' order holds, another text behind it is noted") {
  const Folder folder("qwen3_vl_tiny");
  folder.write_config("tokenizer_config.json", edited());
  folder.write("chat_template.jinja", released);
  REQUIRE(folder.load().notes.size() == 1);
  CHECK(folder.load().notes[0].find("tokenizer_config.json: its chat template is not used") != std::string::npos);
  folder.write_config("chat_template.json", edited());
  CHECK(folder.refusal().find("chat_template.json: line ") != std::string::npos);
  folder.write_config("processor_config.json", released);
  CHECK(folder.load().notes.size() == 2);
}

TEST_CASE("chat template: of several the one named default is meant") {
  const Folder folder("qwen3_vl_tiny");
  const auto list = [](const std::string& name, const std::string& text) {
    return Json::array({{{"name", "rag"}, {"template", "x"}}, {{"name", name}, {"template", text}}});
  };
  folder.write_config("tokenizer_config.json", list("default", released));
  CHECK(folder.load().notes.empty());
  folder.write_config("tokenizer_config.json", list("default", edited()));
  CHECK(folder.refusal().find("line 119") != std::string::npos);
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
  CHECK(folder.refusal().find("chat_template.jinja: is larger than 1048576 bytes") != std::string::npos);
  folder.write("chat_template.jinja", released);
  folder.write("chat_template.json", "{");
  CHECK(folder.refusal().find("chat_template.json: is not a JSON object") != std::string::npos);
}

TEST_CASE("chat template: --chat-template wins over the folder's and must be the released one too") {
  const Folder folder("qwen3_vl_tiny");
  folder.write("chat_template.jinja", edited());
  CHECK(folder.load(released).notes.empty());
  folder.write("given.jinja", released);
  CHECK(folder.load((folder.path / "given.jinja").string()).notes.empty());
  CHECK(folder.refusal("{{ messages }}").find("--chat-template: line 1 ") != std::string::npos);
  CHECK(folder.refusal("no_such_file.jinja").find("is not a file") != std::string::npos);
}
