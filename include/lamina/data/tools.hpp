#pragma once
#include <lamina/checkpoint/json.hpp>
#include <lamina/core/error.hpp>
#include <lamina/text/python_json.hpp>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lamina::data {

/// The text between an opening and a closing word, and where it stands with them; size 0: not found.
struct Tagged {
  std::size_t at = 0, size = 0;
  std::string_view inside;
};

/// The first `open ... close` of the text, as short as possible.
inline Tagged find_tagged(std::string_view text, std::string_view open, std::string_view close) {
  const std::size_t begin = text.find(open);
  if (begin == std::string_view::npos) return {};
  const std::size_t inside = begin + open.size(), end = text.find(close, inside);
  if (end == std::string_view::npos) return {};
  return {begin, end + close.size() - begin, text.substr(inside, end - inside)};
}

/// The text without any occurrence of `word`.
inline std::string without(std::string_view text, std::string_view word) {
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t next = word.empty() ? std::string_view::npos : text.find(word, at);
    out += text.substr(at, next - at);
    if (next == std::string_view::npos) return out;
    at = next + word.size();
  }
}

inline constexpr std::string_view thought_open = "<think>\n", thought_close = "\n</think>\n\n";

/// What follows the system prompt where functions are offered; the models' chat templates hold the same words.
/// `tools` is the JSON text of a list of functions, bare or as {"type": "function", "function": ...}.
inline std::string tools_text(std::string_view tools) {
  using Json = nlohmann::ordered_json;
  Json list;
  try {
    list = checkpoint::parse_json<Json>(tools);
  } catch (const Json::exception& error) {
    fail("\"tools\" is not valid JSON: ", error.what());
  }
  if (list.empty()) return "";
  if (!list.is_array()) fail("\"tools\" must be a JSON list of functions, got ", list.type_name());
  std::string out =
      "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
      "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
  for (const Json& tool : list) {
    if (!tool.is_object()) fail("\"tools\" must be a list of objects, it holds ", tool.dump());
    const bool wrapped = tool.value("type", Json()) == "function";
    out.append("\n").append(text::python_json(wrapped ? tool : Json{{"type", "function"}, {"function", tool}}));
  }
  return out +
         "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
         "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
         "\"arguments\": <args-json-object>}\n</tool_call>";
}

namespace detail {

/// Each call of a JSON object or list of them, as the model is to write it.
inline std::string calls_text(std::string_view json) {
  using Json = nlohmann::ordered_json;
  Json calls;
  try {
    calls = checkpoint::parse_json<Json>(json);
  } catch (const Json::exception& error) {
    fail("a function_call message is not valid JSON: ", error.what());
  }
  if (!calls.is_array()) calls = Json::array({calls});
  std::string out;
  for (const Json& call : calls) {
    if (!call.is_object() || !call.contains("name") || !call.contains("arguments")) {
      fail("a function_call message must hold {\"name\": ..., \"arguments\": ...} or a list of them, got ",
           call.dump());
    }
    const Json ordered{{"name", call["name"]}, {"arguments", call["arguments"]}};
    out.append(out.empty() ? "" : "\n").append("<tool_call>\n").append(text::python_json(ordered));
    out.append("\n</tool_call>");
  }
  return out;
}

}  // namespace detail

/// A function_call turn as the model is to write it: text around a <tool_call>, or a thought before bare JSON, is kept
/// in front. source: LLaMA-Factory, data/formatter.py FunctionFormatter
inline std::string function_text(std::string_view content) {
  if (const Tagged call = find_tagged(content, "<tool_call>", "</tool_call>"); call.size) {
    return without(content, content.substr(call.at, call.size)) + detail::calls_text(call.inside);
  }
  if (const Tagged thought = find_tagged(content, thought_open, thought_close); thought.size) {
    const std::string_view whole = content.substr(thought.at, thought.size);
    return std::string(whole) + detail::calls_text(without(content, whole));
  }
  return detail::calls_text(content);
}

}  // namespace lamina::data
