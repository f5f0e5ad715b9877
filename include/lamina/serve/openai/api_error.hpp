#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace lamina::serve {

/// At most `limit` bytes of a text, cut between characters: messages must not send a client's input back in full.
inline std::string clipped(std::string_view text, std::size_t limit = 200) {
  if (text.size() <= limit) return std::string(text);
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

/// At most `limit` printable ASCII characters: safe in a log or a header.
inline std::string printable(std::string_view text, std::size_t limit = 200) {
  std::string out;
  for (const char c : text.substr(0, limit)) out += c > ' ' && c < '\x7f' ? c : '?';
  return out;
}

/// A value as messages show it: the kind of a list or an object, else its JSON.
inline std::string shown(const nlohmann::ordered_json& value) {
  if (value.is_structured()) return value.type_name();
  if (value.is_string()) return '"' + clipped(value.get_ref<const std::string&>()) + '"';
  return value.dump();
}

/// A message with what a client sent, in which what() would end at the first NUL byte.
inline std::string without_nul(std::string message) {
  for (std::size_t at; (at = message.find('\0')) != message.npos;) message.replace(at, 1, "\\x00");
  return message;
}

/// A request that cannot be answered: the HTTP status and the words of the error object.
struct ApiError : std::runtime_error {
  int status;
  std::string type, param;  ///< param: dotted path of the field, empty for none

  ApiError(int status, std::string type, const std::string& message, std::string param = {})
      : std::runtime_error(without_nul(message)), status(status), type(std::move(type)), param(std::move(param)) {}

  /// {"error":{"message","type","param","code"}}, as vLLM sends it since 0.10.
  nlohmann::ordered_json json() const {
    return {{"error",
             {{"message", what()},
              {"type", type},
              {"param", param.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(param)},
              {"code", status}}}};
  }
  std::string body() const { return json().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace); }
};

/// A field that is there but wrong.
inline ApiError bad_field(const std::string& param, const std::string& message) {
  return {400, "BadRequestError", message, param};
}
/// A field that is there but wrong, in the one form that all such messages have: path, what was found, what was wanted.
inline ApiError wrong_field(const std::string& param, const std::string& found, const std::string& wanted) {
  return bad_field(param, param + ": is " + found + ", wanted " + wanted);
}
/// A part of the API that this server does not have.
inline ApiError not_implemented(const std::string& param, const std::string& message) {
  return {400, "NotImplementedError", message, param};
}

}  // namespace lamina::serve
