#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/grammar/grammar.hpp>
#include <lamina/io/json.hpp>

namespace lamina::grammar {

using Json = nlohmann::ordered_json;

/// Keywords of JSON Schema that say something about values and are not understood. All others of no effect here are
/// annotations.
inline constexpr std::array<std::string_view, 21> unsupported_keywords{
    "$anchor",           "$dynamicRef",      "$dynamicAnchor", "$recursiveRef",
    "additionalItems",   "contains",         "contentSchema",  "dependencies",
    "dependentRequired", "dependentSchemas", "else",           "if",
    "maxContains",       "minContains",      "multipleOf",     "not",
    "patternProperties", "propertyNames",    "then",           "unevaluatedItems",
    "uniqueItems"};

/// A schema and its path in the text, for messages.
struct SchemaPlace {
  const Json& schema;
  std::string path;

  const Json* find(const char* keyword) const {
    const auto at = schema.find(keyword);
    return at == schema.end() ? nullptr : &*at;
  }
  SchemaPlace at(const char* keyword, const std::string& name) const {
    return {schema.at(keyword).at(name), inside(cat(keyword, ".", shown(name)))};
  }
  SchemaPlace at(const char* keyword, std::size_t index) const {
    return {schema.at(keyword).at(index), inside(cat(keyword, ".", index))};
  }
  SchemaPlace at(const char* keyword) const { return {schema.at(keyword), inside(keyword)}; }

  /// A whole number of at least 0, such as minLength.
  std::optional<std::uint32_t> count(const char* keyword) const {
    const Json* value = find(keyword);
    if (!value) return {};
    const bool whole = value->is_number_integer() || (value->is_number_float() && value->get<double>() >= 0 &&
                                                      value->get<double>() == std::int64_t(value->get<double>()));
    if (!whole || value->get<double>() < 0) wrong(keyword, "a whole number of at least 0");
    if (value->get<double>() > 1e9) wrong(keyword, "at most 1000000000");
    return static_cast<std::uint32_t>(value->get<double>());
  }
  std::optional<std::string> text(const char* keyword) const {
    const Json* value = find(keyword);
    if (!value) return {};
    if (!value->is_string()) wrong(keyword, "a string");
    return value->get<std::string>();
  }
  /// The path of a part. Of long ones the middle is left out.
  std::string inside(const std::string& part) const { return shown(path + "." + part, 160); }
  void expect_object(const char* keyword) const {
    if (!schema.at(keyword).is_object()) wrong(keyword, "an object");
  }
  void expect_list(const char* keyword) const {
    if (!schema.at(keyword).is_array() || schema.at(keyword).empty()) wrong(keyword, "a list that is not empty");
  }
  [[noreturn]] void wrong(const char* keyword, const std::string& wanted) const {
    refuse(path, ".", keyword, ": is ", shown(schema.at(keyword).dump(-1, ' ', false, Json::error_handler_t::replace)),
           ", wanted ", wanted);
  }
};

}  // namespace lamina::grammar
