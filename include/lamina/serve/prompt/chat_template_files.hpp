#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/io/json/file.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/io/visible.hpp>
#include <lamina/text/prompt_template.hpp>

/// Where chat templates come from: the files of a model's folder, or the operator.
namespace lamina::serve {

/// A chat template and the file, or the option, that it comes from.
struct ChatTemplate {
  std::string source, text;
};

namespace detail {

inline constexpr std::uint64_t most_template_bytes = 1 << 20;

/// "chat_template" of a JSON file: a text, or several of which the one named "default" is meant (a list of {"name",
/// "template"}, or an object from names to texts). Nothing if there is no such key.
inline std::optional<std::string> template_of_json(const std::filesystem::path& path) {
  using Json = nlohmann::ordered_json;
  const auto json = io::read_json_object<Json>(path);
  const auto it = json.find("chat_template");
  if (it == json.end() || it->is_null()) return {};
  if (it->is_string()) return it->get<std::string>();
  if (it->is_object() && it->contains("default") && (*it)["default"].is_string())
    return (*it)["default"].get<std::string>();
  if (it->is_array())
    for (const Json& entry : *it)
      if (entry.is_object() && entry.value("name", Json()) == "default" && entry.value("template", Json()).is_string())
        return entry["template"].get<std::string>();
  fail(path.string(), ": chat_template is ", it->type_name(),
       ", wanted a text, or a list or object of templates with one named \"default\"");
}

inline std::optional<ChatTemplate> read_template(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {};
  auto text = path.extension() == ".jinja" ? io::read_text(path, most_template_bytes) : template_of_json(path);
  if (!text) return {};
  return ChatTemplate{path.string(), std::move(*text)};
}

}  // namespace detail

/// The templates of a folder; transformers 5 and vLLM take the first. That is the processor's: chat_template in
/// processor_config.json, else chat_template.json, else chat_template.jinja; without one the tokenizer's: chat_template
/// in tokenizer_config.json. Error if a file cannot be understood.
inline std::vector<ChatTemplate> find_chat_templates(const std::filesystem::path& folder) {
  std::vector<ChatTemplate> found;
  for (const char* name :
       {"processor_config.json", "chat_template.json", "chat_template.jinja", "tokenizer_config.json"})
    if (auto one = detail::read_template(folder / name)) found.push_back(std::move(*one));
  return found;
}

/// The value of --chat-template: the text of the file of that name, else the template itself (it has braces or line
/// ends, as in vLLM). FileError for the name of a file that does not exist or cannot be read.
inline ChatTemplate given_chat_template(const std::string& value) {
  std::error_code none;
  if (std::filesystem::is_regular_file(value, none))
    return {"--chat-template " + value, io::read_text(value, detail::most_template_bytes)};
  if (value.find_first_of("{}\n") == std::string::npos)
    throw io::FileError(cat("--chat-template ", value, ": is not a file, and not a template either: it has no braces"));
  return {"--chat-template", value};
}

/// The same, before the model is known: UsageError if the value itself is the template and is none.
inline void check_chat_template(const std::string& value) {
  const ChatTemplate given = given_chat_template(value);
  if (given.text != value) return;
  try {
    text::jinja::Template::compile(given.text);
  } catch (const text::jinja::TemplateError& e) {
    io::usage(given.source, ": ", e.what());
  }
}

/// Are two templates one and the same to Jinja?
inline bool same_template(std::string_view a, std::string_view b) {
  return text::jinja::detail::with_jinja_line_ends(a) == text::jinja::detail::with_jinja_line_ends(b);
}

/// The tokens that a tokenizer_config.json gives to chat templates as variables: eos_token and so on, by their texts.
/// Error for one that is neither a text nor an object with a text as its content.
inline nlohmann::ordered_json special_tokens_of(const nlohmann::ordered_json& tokenizer_config) {
  auto out = nlohmann::ordered_json::object();
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const auto it = tokenizer_config.find(name);
    if (it == tokenizer_config.end() || it->is_null()) continue;
    const auto& token = it->is_object() && it->contains("content") ? (*it)["content"] : *it;
    if (!token.is_string())
      fail("tokenizer_config.json: ", name, " is ", io::foreign_name(it->dump()), ", wanted a text, or one as content");
    out[name] = token;
  }
  return out;
}

}  // namespace lamina::serve
