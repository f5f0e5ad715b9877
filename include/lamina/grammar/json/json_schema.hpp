#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/grammar/json/schema_merge.hpp>
#include <lamina/grammar/json/schema_object.hpp>
#include <lamina/grammar/json/schema_scalars.hpp>

namespace lamina::grammar {

namespace detail {

class SchemaReader {
 public:
  SchemaReader(Grammar& grammar, const Json& root, const JsonLayout& layout, std::string subject)
      : grammar_(grammar), text_(grammar, layout), root_(root), subject_(std::move(subject)) {}

  NodeId read() {
    const NodeId node = referred(root_, subject_);
    while (!pending_.empty()) {
      const Pending next = pending_.front();
      pending_.pop_front();
      grammar_.define(next.rule, schema({*next.schema, next.path}));
    }
    return node;
  }

 private:
  struct Pending {
    RuleId rule;
    const Json* schema;
    std::string path;
  };
  class Level {
   public:
    Level(SchemaReader& reader, const SchemaPlace& place) : level_(reader.level_) {
      if (++level_ > reader.grammar_.limits().nesting)
        refuse(place.path, ": is nested deeper than ", reader.grammar_.limits().nesting, " levels");
      reader.grammar_.check_time();
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --level_; }

   private:
    int& level_;
  };

  /// A rule for a schema, which is read once however many refer to it, and after those that do.
  NodeId referred(const Json& schema, const std::string& path) {
    const auto [found, is_new] = rules_.try_emplace(&schema, 0);
    if (is_new) {
      found->second = grammar_.declare(path);
      pending_.push_back({found->second, &schema, path});
    }
    return grammar_.rule(found->second);
  }

  NodeId schema(const SchemaPlace& place) {
    const Level level(*this, place);
    if (place.schema == true) return text_.any();
    if (!place.schema.is_object())
      refuse(place.path, ": is ", place.schema == false ? "false, which allows no value" : "not a schema",
             ", wanted an object");
    for (const auto& [keyword, value] : place.schema.items()) check_keyword(place, keyword, value);
    if (const Json* ref = place.find("$ref"); ref && stands_alone(place.schema, "$ref")) {
      const SchemaPlace target = resolve(place);
      return referred(target.schema, target.path);
    }
    if (place.find("$ref") || place.find("allOf")) {
      owned_.push_back(joined(place));
      return schema({owned_.back(), place.path});
    }
    if (place.find("const")) return constant(place.schema.at("const"));
    if (place.find("enum")) return enumeration(place);
    for (const char* any : {"anyOf", "oneOf"})
      if (place.find(any)) return branches(place, any);
    return typed(place);
  }

  static void check_keyword(const SchemaPlace& place, const std::string& keyword, const Json& value) {
    const auto& bad = unsupported_keywords;
    if (std::find(bad.begin(), bad.end(), keyword) == bad.end() || value == false) return;
    if (keyword == "multipleOf" && value == 1 && place.schema.value("type", Json()) == "integer") return;
    refuse(place.path, ".", keyword, ": this keyword of JSON Schema is not supported");
  }

  /// Whether all else in a schema is annotations or definitions.
  static bool stands_alone(const Json& schema, std::string_view keyword) {
    static const std::set<std::string_view> silent{"$defs",     "definitions", "title",    "description", "default",
                                                   "example",   "examples",    "$comment", "deprecated",  "readOnly",
                                                   "writeOnly", "$schema",     "$id"};
    return std::all_of(schema.items().begin(), schema.items().end(),
                       [&](const auto& item) { return item.key() == keyword || silent.count(item.key()) > 0; });
  }
  /// The schema that a $ref names.
  SchemaPlace resolve(const SchemaPlace& place) const {
    const std::string ref = place.text("$ref").value_or("");
    if (!ref.starts_with("#")) place.wrong("$ref", "a place in the same schema, such as #/$defs/name");
    const Json* at = &root_;
    for (std::size_t begin = 1; begin < ref.size();) {
      const std::size_t end = std::min(ref.find('/', begin + 1), ref.size());
      if (ref[begin] != '/') place.wrong("$ref", "a path such as #/$defs/name");
      const std::string part = unescaped(ref.substr(begin + 1, end - begin - 1));
      const Json* next = nullptr;
      if (at->is_object() && at->contains(part)) next = &at->at(part);
      if (at->is_array() && !part.empty() && part.size() < 6 && part.find_first_not_of("0123456789") == part.npos &&
          std::stoul(part) < at->size())
        next = &at->at(std::stoul(part));
      if (!next) place.wrong("$ref", cat("a path to a schema: there is no ", shown(part)));
      at = next;
      begin = end;
    }
    return {*at, subject_ + shown(ref.substr(1))};
  }
  /// ~1, ~0 and %xx of JSON pointers in URIs.
  static std::string unescaped(const std::string& part) {
    std::string out;
    for (std::size_t i = 0; i < part.size(); ++i) {
      const std::string_view rest = std::string_view(part).substr(i);
      const auto hex = [](char c) { return std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20)); };
      if (rest.starts_with("~0") || rest.starts_with("~1")) {
        out += part[++i] == '0' ? '~' : '/';
      } else if (rest.size() > 2 && rest[0] == '%' && hex(rest[1]) < 16 && hex(rest[2]) < 16) {
        out += static_cast<char>(hex(rest[1]) << 4 | hex(rest[2]));
        i += 2;
      } else {
        out += part[i];
      }
    }
    return out;
  }

  /// The schema with what $ref and allOf name put into it.
  Json joined(const SchemaPlace& place) {
    const Level level(*this, place);
    Json out = place.schema;
    out.erase("$ref"), out.erase("allOf");
    const auto add = [&](const SchemaPlace& part) {
      if (part.schema == true) return;
      if (!part.schema.is_object()) refuse(part.path, ": is not a schema that can be joined, wanted an object");
      const Json whole = joined(part);
      SchemaMerge(out, {whole, part.path});
    };
    if (place.find("$ref")) add(resolve(place));
    if (place.find("allOf")) {
      place.expect_list("allOf");
      for (std::size_t i = 0; i < place.schema.at("allOf").size(); ++i) add(place.at("allOf", i));
    }
    return out;
  }
  /// anyOf and oneOf: what else the schema says holds for each branch.
  NodeId branches(const SchemaPlace& place, const char* keyword) {
    place.expect_list(keyword);
    Json common = place.schema;
    common.erase(keyword);
    const bool alone = stands_alone(place.schema, keyword) || stands_alone(common, "discriminator");
    std::vector<NodeId> nodes;
    for (std::size_t i = 0; i < place.schema.at(keyword).size(); ++i) {
      const SchemaPlace branch = place.at(keyword, i);
      if (alone) {
        nodes.push_back(schema(branch));
        continue;
      }
      if (!branch.schema.is_object()) refuse(branch.path, ": is not a schema, wanted an object");
      Json both = joined(branch);
      SchemaMerge(both, {common, place.path});
      owned_.push_back(std::move(both));
      nodes.push_back(schema({owned_.back(), branch.path}));
    }
    return grammar_.choice(std::move(nodes));
  }

  NodeId constant(const Json& value) {
    return grammar_.literal(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  NodeId enumeration(const SchemaPlace& place) {
    place.expect_list("enum");
    std::vector<NodeId> values;
    for (const Json& value : place.schema.at("enum"))
      if (is_of_types(place, value)) values.push_back(constant(value));
    if (values.empty()) place.wrong("enum", "a value of the schema's type");
    return grammar_.choice(std::move(values));
  }
  static bool is_of_types(const SchemaPlace& place, const Json& value) {
    const Json* types = place.find("type");
    if (!types) return true;
    const auto is = [&](const Json& type) {
      return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
             (type == "string" && value.is_string()) || (type == "boolean" && value.is_boolean()) ||
             (type == "null" && value.is_null()) || (type == "number" && value.is_number()) ||
             (type == "integer" && value.is_number_integer());
    };
    return types->is_array() ? std::any_of(types->begin(), types->end(), is) : is(*types);
  }

  NodeId typed(const SchemaPlace& place) {
    const Json* types = place.find("type");
    if (!types) return of_type(place, implied_type(place));
    if (types->is_string()) return of_type(place, types->get<std::string>());
    place.expect_list("type");
    std::vector<NodeId> nodes;
    for (const Json& type : *types)
      nodes.push_back(of_type(place, type.is_string() ? type.get<std::string>() : type.dump()));
    return grammar_.choice(std::move(nodes));
  }
  /// Without a type, keywords that say something about values of one type alone choose it.
  static std::string implied_type(const SchemaPlace& place) {
    static const std::vector<std::pair<std::string, std::vector<const char*>>> table{
        {"object", {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}},
        {"array", {"items", "prefixItems", "minItems", "maxItems"}},
        {"string", {"pattern", "format", "minLength", "maxLength"}},
        {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}}};
    for (const auto& [type, keywords] : table)
      if (std::any_of(keywords.begin(), keywords.end(), [&](const char* k) { return place.find(k); })) return type;
    return "any";
  }
  NodeId of_type(const SchemaPlace& place, const std::string& type) {
    if (type == "object") return object(place);
    if (type == "array") return array(place);
    if (type == "string") return string_node(text_, place);
    if (type == "integer") return integer_node(text_, place);
    if (type == "number") return number_node(text_, place);
    if (type == "boolean") return text_.boolean();
    if (type == "null") return text_.null();
    if (type == "any") return text_.any();
    place.wrong("type", "object, array, string, integer, number, boolean or null");
  }

  NodeId object(const SchemaPlace& place);
  std::optional<NodeId> other_values(const SchemaPlace& place);
  void count_members(const SchemaPlace& place, ObjectParts& parts) const;
  NodeId array(const SchemaPlace& place);

  Grammar& grammar_;
  JsonText text_;
  const Json& root_;
  std::string subject_;
  std::map<const Json*, RuleId> rules_;
  std::deque<Pending> pending_;
  std::deque<Json> owned_;  // schemas that were joined
  int level_ = 0;
};

inline NodeId SchemaReader::object(const SchemaPlace& place) {
  std::set<std::string> required, names;
  if (const Json* list = place.find("required")) {
    if (!list->is_array()) place.wrong("required", "a list of strings");
    for (const Json& name : *list) {
      if (!name.is_string()) place.wrong("required", "a list of strings");
      required.insert(name.get<std::string>());
    }
  }
  ObjectParts parts;
  const auto add = [&](const std::string& name, NodeId value) {
    parts.members.push_back({text_.member(constant(name), value), required.count(name) > 0});
    names.insert(name);
  };
  if (place.find("properties")) {
    place.expect_object("properties");
    for (const auto& [name, unused] : place.schema.at("properties").items())
      add(name, schema(place.at("properties", name)));
  }
  const std::optional<NodeId> others = other_values(place);
  for (const std::string& name : required) {
    if (names.count(name)) continue;
    if (!others) place.wrong("required", cat("names of properties: ", shown(name), " is none"));
    add(name, *others);
  }
  if (others) parts.other = text_.member(names.empty() ? text_.string() : OtherKeys(text_, names).node(), *others);
  count_members(place, parts);
  return object_node(text_, parts);
}

/// The value of members that `properties` does not name; nothing if there are none. As vLLM does, a schema that names
/// properties and does not speak of others has none.
inline std::optional<NodeId> SchemaReader::other_values(const SchemaPlace& place) {
  const char* keyword = place.find("additionalProperties") ? "additionalProperties" : "unevaluatedProperties";
  const Json* others = place.find(keyword);
  if (!others) return place.find("properties") ? std::nullopt : std::optional(text_.any());
  if (*others == false) return {};
  return schema(place.at(keyword));
}

inline void SchemaReader::count_members(const SchemaPlace& place, ObjectParts& parts) const {
  const auto min = place.count("minProperties"), max = place.count("maxProperties");
  if (parts.members.empty() && parts.other) {
    parts.min_others = min.value_or(0), parts.max_others = max.value_or(Grammar::unbounded);
    if (parts.min_others > parts.max_others) place.wrong("minProperties", cat("at most maxProperties, ", *max));
    return;
  }
  const auto required = std::count_if(parts.members.begin(), parts.members.end(), [](auto& m) { return m.required; });
  if (min && *min > required) place.wrong("minProperties", "none, or no more than are required");
  if (max && (parts.other || *max < parts.members.size()))
    place.wrong("maxProperties", "none, or no fewer than there are");
}

/// prefixItems, then items. Without `items` there are no more than `prefixItems` says.
inline NodeId SchemaReader::array(const SchemaPlace& place) {
  std::vector<NodeId> prefix;
  const bool tuple = place.find("items") && place.schema.at("items").is_array();  // as before 2020-12
  if (const char* keyword = tuple ? "items" : "prefixItems"; place.find(keyword)) {
    place.expect_list(keyword);
    for (std::size_t i = 0; i < place.schema.at(keyword).size(); ++i) prefix.push_back(schema(place.at(keyword, i)));
  }
  std::optional<NodeId> item;
  if (const Json* items = place.find("items"); items && !tuple && *items != false)
    item = schema(place.at("items"));
  else if (!items && prefix.empty())
    item = text_.any();
  const std::uint32_t min = place.count("minItems").value_or(0);
  const std::uint32_t max = place.count("maxItems").value_or(Grammar::unbounded);
  if (min > max) place.wrong("minItems", cat("at most maxItems, ", max));
  const auto fixed = static_cast<std::uint32_t>(prefix.size());
  if (!item && min > fixed) place.wrong("minItems", cat("at most ", fixed, ", the number of prefixItems"));
  if (max == 0 || (!item && fixed == 0)) return text_.brackets({}, true);
  if (fixed == 0) return text_.brackets(text_.list(*item, std::max(min, 1u), max), min == 0);
  NodeId more = grammar_.empty();  // after the first items
  if (item && max > fixed)
    more = grammar_.repeat(grammar_.sequence({text_.comma(), *item}), min > fixed ? min - fixed : 0,
                           max == Grammar::unbounded ? max : max - fixed);
  for (std::uint32_t i = std::min(fixed, max); i-- > 1;) {
    const NodeId next = grammar_.sequence({text_.comma(), prefix[i], more});
    more = grammar_.rule("more items", i < min ? next : grammar_.optional(next));
  }
  return text_.brackets(grammar_.sequence({prefix.front(), more}), min == 0);
}

}  // namespace detail

/// JSON that a schema, which is part of a grammar, allows; see json_schema_grammar().
inline NodeId json_schema_node(Grammar& grammar, const Json& schema, const JsonLayout& layout, std::string subject) {
  return detail::SchemaReader(grammar, schema, layout, std::move(subject)).read();
}

/// A grammar whose texts are JSON that a schema (draft 2020-12, and $ref and definitions of older ones) allows. Not all
/// that it allows can come: members come in the order of `properties`; patterns are matched as a whole; numbers have
/// bounds of their own (json_text.hpp). oneOf is taken as anyOf. Keywords for another type than the value's say
/// nothing, as the standard has it.
/// subject  what messages call the schema
/// errors   GrammarError names the keyword with its path
inline Grammar json_schema_grammar(const Json& schema, const JsonLayout& layout = {}, const GrammarLimits& limits = {},
                                   const std::string& subject = "json") {
  Grammar grammar(limits);
  grammar.root = json_schema_node(grammar, schema, layout, subject);
  return grammar;
}

/// Any JSON object.
inline Grammar json_object_grammar(const JsonLayout& layout = {}, const GrammarLimits& limits = {}) {
  Grammar grammar(limits);
  grammar.root = JsonText(grammar, layout).any_object();
  return grammar;
}

}  // namespace lamina::grammar
