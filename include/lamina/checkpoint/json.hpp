#pragma once
#include <istream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

/// The one way in which text becomes JSON: nlohmann's parser is a template over where characters come from, and each
/// instance costs a program half a second of build time.
namespace lamina::checkpoint {

/// Throws Json::exception where text is not JSON.
template <class Json>
Json parse_json(std::string_view text) {
  return Json::parse(text.data(), text.data() + text.size());
}
/// The rest of a stream.
template <class Json>
Json parse_json(std::istream& in) {
  return parse_json<Json>(std::string(std::istreambuf_iterator<char>(in), {}));
}

/// The same, with a value that is_discarded() where text is not JSON.
template <class Json>
Json try_parse_json(std::string_view text) {
  return Json::parse(text.data(), text.data() + text.size(), nullptr, false);
}
template <class Json>
Json try_parse_json(std::istream& in) {
  return try_parse_json<Json>(std::string(std::istreambuf_iterator<char>(in), {}));
}

}  // namespace lamina::checkpoint
