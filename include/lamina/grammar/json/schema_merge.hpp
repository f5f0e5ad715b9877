#pragma once
#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/grammar/json/schema_place.hpp>

namespace lamina::grammar {

namespace detail {

/// `into` becomes the schema of what both allow. Schemas that cannot be joined into one are refused by the keyword.
class SchemaMerge {
 public:
  SchemaMerge(Json& into, const SchemaPlace& from) : into_(into), from_(from) {
    refuse_closed_objects();
    for (const char* keyword : {"required", "enum"})
      if (from.find(keyword) && !from.schema.at(keyword).is_array()) from.wrong(keyword, "a list");
    for (const auto& [keyword, value] : from.schema.items()) {
      const auto mine = into.find(keyword);
      if (mine == into.end())
        into[keyword] = value;
      else if (*mine != value)
        merge(keyword, *mine, value);
    }
  }

 private:
  static bool is_one_of(const std::string& keyword, std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), keyword) != words.end();
  }
  void merge(const std::string& keyword, Json& mine, const Json& value) {
    if (keyword == "type") return merge_types(mine, value);
    if (keyword == "properties") return merge_properties(mine, value);
    if (keyword == "required" && mine.is_array()) return merge_required(mine, value);
    if (keyword == "enum" && mine.is_array()) return merge_enum(mine, value);
    if (mine.is_number() && value.is_number()) {
      if (is_one_of(keyword, {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}))
        return void(mine = std::max(mine, value));
      if (is_one_of(keyword, {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}))
        return void(mine = std::min(mine, value));
    }
    if (keyword == "items" && mine.is_object() && value.is_object()) return void(SchemaMerge(mine, from_.at("items")));
    if (is_one_of(keyword, {"const", "pattern", "format", "additionalProperties", "items", "prefixItems", "anyOf",
                            "oneOf", "allOf", "$ref", "unevaluatedProperties"}))
      refuse(from_.path, ".", keyword, ": is joined (allOf, $ref or anyOf) with another ", keyword,
             ", which is not supported");
  }
  static Json listed(const Json& type) { return type.is_array() ? type : Json::array({type}); }
  void merge_types(Json& mine, const Json& value) {
    Json both = Json::array();
    for (const Json& a : listed(mine))
      for (const Json& b : listed(value)) {
        if (a == b || (a == "integer" && b == "number")) both.push_back(a);
        if (a == "number" && b == "integer") both.push_back(b);
      }
    if (both.empty()) refuse(from_.path, ".type: no value is of this type and of that which it is joined with");
    mine = both.size() == 1 ? both.front() : std::move(both);
  }
  void merge_properties(Json& mine, const Json& value) {
    if (!mine.is_object() || !value.is_object()) from_.wrong("properties", "an object");
    for (const auto& [name, schema] : value.items()) {
      const auto known = mine.find(name);
      if (known == mine.end())
        mine[name] = schema;
      else if (*known != schema)
        mine[name] = Json{{"allOf", Json::array({*known, schema})}};
    }
  }
  static void merge_required(Json& mine, const Json& value) {
    for (const Json& name : value)
      if (std::find(mine.begin(), mine.end(), name) == mine.end()) mine.push_back(name);
  }
  void merge_enum(Json& mine, const Json& value) {
    Json both = Json::array();
    for (const Json& a : mine)
      if (std::find(value.begin(), value.end(), a) != value.end()) both.push_back(a);
    if (both.empty()) refuse(from_.path, ".enum: no value is in this list and in that which it is joined with");
    mine = std::move(both);
  }
  /// An object that has no properties but its own would be joined with more of them.
  void refuse_closed_objects() const {
    const auto names = [](const Json& schema) {
      std::set<std::string> out;
      if (const auto at = schema.find("properties"); at != schema.end() && at->is_object())
        for (const auto& [name, value] : at->items()) out.insert(name);
      return out;
    };
    const auto closed = [](const Json& schema) {
      const auto at = schema.find("additionalProperties");
      return at != schema.end() && *at != true;
    };
    const auto mine = names(into_), others = names(from_.schema);
    const auto has_more = [](const auto& a, const auto& b) {
      return !std::includes(b.begin(), b.end(), a.begin(), a.end());
    };
    if ((closed(into_) && has_more(others, mine)) || (closed(from_.schema) && has_more(mine, others)))
      refuse(from_.path, ".additionalProperties: is joined (allOf, $ref or anyOf) with properties that it forbids");
  }

  Json& into_;
  const SchemaPlace& from_;
};

}  // namespace detail
}  // namespace lamina::grammar
