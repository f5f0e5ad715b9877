#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/json.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/text/python_json.hpp>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lamina::data {

/// The text between an opening and a closing word, and its place with them; size 0: not found.
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

namespace detail {

/// JSON that a record holds as text.
inline nlohmann::ordered_json read_json_part(std::string_view subject, std::string_view text) {
  try {
    return read_json_text(text);
  } catch (const Error& error) {
    fail(subject, " is not valid JSON: ", error.what());
  }
}

}  // namespace detail

/// The text after the system prompt if functions are offered; the models' chat templates hold the same words.
/// `tools` is the JSON text of a list of functions, bare or as {"type": "function", "function": ...}.
inline std::string tools_text(std::string_view tools, const ToolMarks& marks) {
  using Json = nlohmann::ordered_json;
  const Json list = detail::read_json_part("\"tools\"", tools);
  if (list.empty()) return "";
  if (!list.is_array()) fail("\"tools\" must be a JSON list of functions, got ", list.type_name());
  std::string out = "\n\n";
  out += marks.offer_begin;
  for (const Json& tool : list) {
    if (!tool.is_object()) fail("\"tools\" must be a list of objects, it holds ", tool.dump());
    const bool wrapped = tool.value("type", Json()) == "function";
    out.append("\n").append(text::python_json(wrapped ? tool : Json{{"type", "function"}, {"function", tool}}));
  }
  return out += marks.offer_end;
}

namespace detail {

/// The arguments of a call. Text that holds the JSON of an object becomes this object, as OpenAI's API writes arguments
/// and as the server hands them to the chat template.
inline nlohmann::ordered_json call_arguments(const nlohmann::ordered_json& arguments) {
  if (!arguments.is_string()) return arguments;
  const std::string& text = arguments.get_ref<const std::string&>();
  if (text.empty()) return nlohmann::ordered_json::object();
  nlohmann::ordered_json object = read_json_part("the text in \"arguments\" of a call", text);
  if (!object.is_object()) fail("\"arguments\" of a call are the text ", text, ", wanted the JSON of an object");
  return object;
}

}  // namespace detail

/// Each call of a JSON object or list of them, as the model is to write it.
inline std::string calls_text(nlohmann::ordered_json calls, const ToolMarks& marks) {
  using Json = nlohmann::ordered_json;
  if (!calls.is_array()) calls = Json::array({calls});
  std::string out;
  for (const Json& call : calls) {
    if (!call.is_object() || !call.contains("name") || !call.contains("arguments")) {
      fail("a function_call message must hold {\"name\": ..., \"arguments\": ...} or a list of them, got ",
           text::python_json(call));
    }
    const Json ordered{{"name", call["name"]}, {"arguments", detail::call_arguments(call["arguments"])}};
    out.append(out.empty() ? "" : "\n").append(marks.call_begin).append("\n").append(text::python_json(ordered));
    out.append("\n").append(marks.call_end);
  }
  return out;
}

namespace detail {

inline std::string written_calls(std::string_view json, const ToolMarks& marks) {
  return calls_text(read_json_part("a function_call message", json), marks);
}

}  // namespace detail

/// A function_call turn as the model is to write it: text around a marked call, or a thought before bare JSON, is kept
/// in front. Of several marked calls each stays in its place.
/// source: LLaMA-Factory, data/formatter.py FunctionFormatter, which puts the first of several after the others
inline std::string function_text(std::string_view content, const ToolMarks& marks) {
  const std::string_view open = marks.call_begin, close = marks.call_end;
  if (const Tagged call = find_tagged(content, open, close); call.size) {
    const std::string_view after = content.substr(call.at + call.size);
    if (!find_tagged(after, open, close).size) {
      return std::string(content.substr(0, call.at)).append(after) + detail::written_calls(call.inside, marks);
    }
    std::string out;
    for (Tagged next; (next = find_tagged(content, open, close)).size;) {
      out.append(content.substr(0, next.at)).append(detail::written_calls(next.inside, marks));
      content.remove_prefix(next.at + next.size);
    }
    return out.append(content);
  }
  if (const Tagged thought = find_tagged(content, thought_open, thought_close); thought.size) {
    const std::string_view whole = content.substr(thought.at, thought.size);
    return std::string(whole) + detail::written_calls(without(content, whole), marks);
  }
  return detail::written_calls(content, marks);
}

}  // namespace lamina::data
