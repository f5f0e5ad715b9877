#pragma once
#include <algorithm>
#include <random>
#include <string>
#include <utility>

#include <lamina/grammar/json/schema_place.hpp>

namespace lamina::test {
using Json = nlohmann::ordered_json;

/// Schemas of the keywords that are supported, at random.
class RandomSchema {
 public:
  explicit RandomSchema(unsigned seed) : random_(seed) {}

  Json schema() {
    Json root = any(3);
    root["$defs"]["node"] = {
        {"type", "object"}, {"properties", {{"v", any(0)}, {"next", {{"$ref", "#/$defs/node"}}}}}, {"required", {"v"}}};
    return root;
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  bool coin() { return below(2) == 0; }

  Json any(int depth) {
    switch (below(depth > 0 ? 11 : 6)) {
      case 0:
        return text();
      case 1:
        return integer();
      case 2:
        return number();
      case 3:
        return {{"type", coin() ? Json("boolean") : Json{"null", "boolean"}}};
      case 4:
        return {{"enum", {"red", "gr\"een", 3, nullptr, true}}};
      case 5:
        return coin() ? Json{{"const", "yes"}} : Json{{"$ref", "#/$defs/node"}};
      case 6:
      case 7:
        return object(depth - 1);
      case 8:
      case 9:
        return array(depth - 1);
      default:
        return {{"anyOf", {any(depth - 1), any(depth - 1)}}};
    }
  }
  Json text() {
    Json out{{"type", "string"}};
    const int min = below(4);
    if (coin()) out["minLength"] = min;
    if (coin()) out["maxLength"] = min + below(5);
    if (out.size() == 1 && coin()) out["pattern"] = coin() ? "^[a-f]{2,5}(x|\"yz)?$" : "^\\d{3}-[^a-z]*$";
    return out;
  }
  Json integer() {
    Json out{{"type", "integer"}};
    const int min = below(3000) - 1500;
    if (coin()) out[coin() ? "minimum" : "exclusiveMinimum"] = min;
    if (coin()) out[coin() ? "maximum" : "exclusiveMaximum"] = min + 2 + below(2000);
    return out;
  }
  Json number() {
    Json out{{"type", "number"}};
    const double min = (below(400) - 200) / 4.0;
    if (coin()) out[coin() ? "minimum" : "exclusiveMinimum"] = min;
    if (coin()) out[coin() ? "maximum" : "exclusiveMaximum"] = min + 0.5 + below(20) / 4.0;
    return out;
  }
  Json object(int depth) {
    Json out{{"type", "object"}};
    static const char* names[] = {"name", "a", "ab", "b\"c", "\xc3\xa9", "d"};
    for (const char* name : names) {
      if (!coin()) continue;
      out["properties"][name] = any(depth);
      if (coin()) out["required"].push_back(name);
    }
    if (below(3) == 0) out["additionalProperties"] = coin() ? Json(coin()) : any(depth);
    return out;
  }
  Json array(int depth) {
    Json out{{"type", "array"}};
    if (coin()) out["items"] = any(depth);
    if (below(3) == 0) out["prefixItems"] = {any(depth), any(0)};
    const int min = below(3);
    if (coin()) out["minItems"] = min;
    if (coin()) out["maxItems"] = min + below(3);
    if (out.contains("prefixItems") && !out.contains("items") && out.value("minItems", 0) > 2) out["minItems"] = 2;
    return out;
  }

  std::mt19937 random_;
};

/// Whether a value is what a schema of RandomSchema allows: by the standard's words, not by this library's.
class Validator {
 public:
  explicit Validator(const Json& root) : root_(root) {}
  bool holds(const Json& value) const { return holds(root_, value); }

 private:
  bool holds(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    const auto has = [&](const char* keyword) { return schema.contains(keyword); };
    if (has("$ref") && !holds(root_["$defs"]["node"], value)) return false;
    if (has("const") && schema["const"] != value) return false;
    if (has("enum") && std::count(schema["enum"].begin(), schema["enum"].end(), value) == 0) return false;
    if (has("anyOf") && std::none_of(schema["anyOf"].begin(), schema["anyOf"].end(),
                                     [&](const Json& branch) { return holds(branch, value); }))
      return false;
    return type_holds(schema, value) && number_holds(schema, value) && text_holds(schema, value) &&
           object_holds(schema, value) && array_holds(schema, value);
  }
  static bool type_holds(const Json& schema, const Json& value) {
    if (!schema.contains("type")) return true;
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    return std::any_of(types.begin(), types.end(), [&](const Json& type) {
      if (type == "integer") return value.is_number_integer();
      if (type == "number") return value.is_number();
      return type == value.type_name();
    });
  }
  static bool number_holds(const Json& schema, const Json& value) {
    if (!value.is_number()) return true;
    const double x = value.get<double>();
    const auto bound = [&](const char* keyword, double none) { return schema.value(keyword, none); };
    return x >= bound("minimum", -1e300) && x <= bound("maximum", 1e300) && x > bound("exclusiveMinimum", -1e300) &&
           x < bound("exclusiveMaximum", 1e300);
  }
  static bool text_holds(const Json& schema, const Json& value) {
    if (!value.is_string()) return true;
    const auto& text = value.get_ref<const std::string&>();
    const auto length = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
    if (length < schema.value("minLength", 0) || length > schema.value("maxLength", 1 << 30)) return false;
    const std::string pattern = schema.value("pattern", "");
    if (pattern.empty()) return true;
    const bool digits = pattern.starts_with("^\\d");
    if (digits)
      return text.size() > 3 && text[3] == '-' && text.find_first_not_of("0123456789") == 3 &&
             text.find_first_of("abcdefghijklmnopqrstuvwxyz") == text.npos;
    const std::size_t letters = std::min(text.find_first_not_of("abcdef"), text.size());
    return letters >= 2 && letters <= 5 &&
           (text.size() == letters || text.substr(letters) == "x" || text.substr(letters) == "\"yz");
  }
  bool object_holds(const Json& schema, const Json& value) const {
    if (!value.is_object()) return true;
    for (const Json& name : schema.value("required", Json::array()))
      if (!value.contains(name.get<std::string>())) return false;
    const Json properties = schema.value("properties", Json::object());
    return std::all_of(value.items().begin(), value.items().end(), [&](const auto& member) {
      if (properties.contains(member.key())) return holds(properties[member.key()], member.value());
      return !schema.contains("additionalProperties") || holds(schema["additionalProperties"], member.value());
    });
  }
  bool array_holds(const Json& schema, const Json& value) const {
    if (!value.is_array()) return true;
    const int size = static_cast<int>(value.size());
    if (size < schema.value("minItems", 0) || size > schema.value("maxItems", 1 << 30)) return false;
    const Json prefix = schema.value("prefixItems", Json::array());
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i < prefix.size() && !holds(prefix[i], value[i])) return false;
      if (i >= prefix.size() && schema.contains("items") && !holds(schema["items"], value[i])) return false;
    }
    return true;
  }

  const Json& root_;
};

}  // namespace lamina::test
