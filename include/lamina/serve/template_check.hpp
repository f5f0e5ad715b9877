#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/io/json.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/serve/openai/api_error.hpp>

/// Templates in a model's folder are compared, not run: a folder whose template asks for another prompt than this
/// build writes (a Thinking checkpoint, an edited template) must be refused, never served with that other prompt.
namespace lamina::serve {

/// A chat template and the file, or the option, that it comes from.
struct ChatTemplate {
  std::string source, text;
};

namespace detail {

/// A whole file. Error above `limit` bytes.
inline std::string read_limited(const std::filesystem::path& path, std::size_t limit) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(path.string(), ": cannot be read");
  std::string text(limit + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > limit) fail(path.string(), ": is larger than ", limit, " bytes, too large for a chat template");
  return text;
}

/// "chat_template" of a JSON file: a text, or several of which the one named "default" is meant (a list of {"name",
/// "template"}, or an object from names to texts). Nothing if there is no such key.
inline std::optional<std::string> template_of_json(const std::filesystem::path& path) {
  constexpr std::size_t most = 16 << 20;  // tokenizer_config.json may list every added token
  using Json = nlohmann::ordered_json;
  const auto json = io::try_parse_json<Json>(read_limited(path, most));
  if (!json.is_object()) fail(path.string(), ": is not a JSON object");
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
  auto text = path.extension() == ".jinja" ? read_limited(path, 1 << 20) : template_of_json(path);
  if (!text) return {};
  return ChatTemplate{path.string(), std::move(*text)};
}

/// What Jinja makes of a template's line ends: CR and CRLF become LF, one line end at the end of the text is dropped.
/// source  jinja2 3.1, Lexer.tokeniter with keep_trailing_newline off, as transformers has it
inline std::string with_jinja_line_ends(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    out += text[i] == '\r' ? '\n' : text[i];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

/// Where two texts that are not equal differ first: the number of the line, from 1, and the line of each; none for one
/// that has ended.
struct LineDifference {
  std::size_t number = 1;
  std::optional<std::string_view> first, second;
};
inline LineDifference first_difference(std::optional<std::string_view> a, std::optional<std::string_view> b) {
  const auto next = [](std::optional<std::string_view>& text) {
    const auto all = text;
    if (!all) return all;
    const auto end = all->find('\n');
    text = end == std::string_view::npos ? std::nullopt : std::optional(all->substr(end + 1));
    return std::optional(all->substr(0, end));
  };
  for (LineDifference out;; ++out.number) {
    out.first = next(a);
    out.second = next(b);
    if (out.first != out.second) return out;
  }
}

/// A line in a message: the part of it around its difference from `other`, without control characters.
inline std::string shown_line(std::optional<std::string_view> line, std::string_view other) {
  if (!line) return "missing";
  constexpr std::size_t before = 40, most = 120;
  const auto at = static_cast<std::size_t>(std::mismatch(line->begin(), line->end(), other.begin(), other.end()).first -
                                           line->begin());
  const std::size_t from = at > before ? at - before : 0;
  std::string out = clipped(line->substr(from), most);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  return cat("\"", from ? "..." : "", out, "\"");
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
/// ends, as in vLLM). Error for the name of a file that does not exist.
inline ChatTemplate given_chat_template(const std::string& value) {
  std::error_code none;
  if (std::filesystem::is_regular_file(value, none))
    return {"--chat-template " + value, detail::read_limited(value, 1 << 20)};
  if (value.find_first_of("{}\n") == std::string::npos)
    fail("--chat-template ", value, ": is not a file, and not a template either: it has no braces");
  return {"--chat-template", value};
}

/// Are two templates one and the same to Jinja?
inline bool same_template(std::string_view a, std::string_view b) {
  return detail::with_jinja_line_ends(a) == detail::with_jinja_line_ends(b);
}

/// Error unless the template writes the prompts that text::render(format, ...) writes, which is known only of the
/// released one. Line ends that Jinja does not tell apart may differ.
inline void check_chat_template(const ChatTemplate& given, const ChatFormat& format) {
  if (same_template(given.text, format.released_template)) return;
  const std::string found = detail::with_jinja_line_ends(given.text);
  const std::string known = detail::with_jinja_line_ends(format.released_template);
  const auto at = detail::first_difference(found, known);
  fail(given.source, ": line ", at.number, " of this chat template is ",
       detail::shown_line(at.first, at.second.value_or("")), ", that of the released template of ", format.title,
       " is ", detail::shown_line(at.second, at.first.value_or("")),
       ". Only the released one is built in and templates are not run yet, so that the model would read other prompts "
       "than its template writes. If it was tuned with the Instruct template, put the released chat_template.json in "
       "place of this one; a Thinking checkpoint cannot be served yet");
}

}  // namespace lamina::serve
