#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/json/json_schema.hpp>
#include <lamina/grammar/notation/ebnf.hpp>
#include <lamina/grammar/notation/text_until.hpp>

namespace lamina::grammar {

namespace detail {

class StructuralTagReader {
 public:
  StructuralTagReader(Grammar& grammar, const JsonLayout& layout) : grammar_(grammar), layout_(layout) {}

  NodeId read(const SchemaPlace& place) {
    if (!place.schema.is_object()) refuse(place.path, ": is not an object");
    if (place.find("structures")) return triggered(place, structures(place));
    if (!place.find("format")) refuse(place.path, ": has neither format nor structures and triggers");
    return format(place.at("format"));
  }

 private:
  struct Tag {
    std::string begin;
    NodeId rest;  ///< content and end
  };

  /// The form of OpenAI's and vLLM's first structural tags.
  std::vector<Tag> structures(const SchemaPlace& place) {
    place.expect_list("structures");
    std::vector<Tag> tags;
    for (std::size_t i = 0; i < place.schema.at("structures").size(); ++i) {
      const SchemaPlace one = place.at("structures", i);
      if (!one.find("schema")) refuse(one.path, ".schema: is missing");
      const SchemaPlace schema = one.at("schema");
      const NodeId content = json_schema_node(grammar_, schema.schema, layout_, schema.path);
      tags.push_back({needed(one, "begin"), grammar_.sequence({content, grammar_.literal(needed(one, "end"))})});
    }
    return tags;
  }
  static std::string needed(const SchemaPlace& place, const char* keyword) {
    if (!place.find(keyword)) refuse(place.path, ".", keyword, ": is missing");
    return *place.text(keyword);
  }
  static bool flag(const SchemaPlace& place, const char* keyword) {
    const Json* value = place.find(keyword);
    if (value && !value->is_boolean()) place.wrong(keyword, "true or false");
    return value && value->get<bool>();
  }
  static std::vector<std::string> words(const SchemaPlace& place, const char* keyword) {
    if (!place.find(keyword)) refuse(place.path, ".", keyword, ": is missing");
    place.expect_list(keyword);
    std::vector<std::string> out;
    for (const Json& word : place.schema.at(keyword)) {
      if (!word.is_string() || word.get_ref<const std::string&>().empty())
        place.wrong(keyword, "a list of strings that are not empty");
      out.push_back(word.get<std::string>());
    }
    return out;
  }

  NodeId format(const SchemaPlace& place) {
    if (++level_ > grammar_.limits().nesting)
      refuse(place.path, ": is nested deeper than ", grammar_.limits().nesting, " levels");
    if (!place.schema.is_object()) refuse(place.path, ": is not an object");
    const NodeId node = format_of_type(place, needed(place, "type"));
    --level_;
    return node;
  }
  NodeId format_of_type(const SchemaPlace& place, const std::string& type) {
    if (type == "const_string") return grammar_.literal(needed(place, "value"));
    if (type == "json_schema") {
      if (!place.find("json_schema")) refuse(place.path, ".json_schema: is missing");
      const SchemaPlace schema = place.at("json_schema");
      return json_schema_node(grammar_, schema.schema, layout_, schema.path);
    }
    if (type == "regex" || type == "grammar") return foreign(place, type);
    if (type == "any_text") return grammar_.repeat(grammar_.bytes(ByteSet().set()), 0, Grammar::unbounded);
    if (type == "sequence") return grammar_.sequence(elements(place));
    if (type == "or") return grammar_.choice(elements(place));
    if (type == "tag") {
      const Tag one = tag(place);
      return grammar_.sequence({grammar_.literal(one.begin), one.rest});
    }
    if (type == "triggered_tags") return triggered(place, tags(place));
    if (type == "tags_with_separator") return separated(place, tags(place));
    place.wrong("type",
                "const_string, json_schema, regex, grammar, any_text, sequence, or, tag, triggered_tags or "
                "tags_with_separator");
  }
  NodeId foreign(const SchemaPlace& place, const std::string& type) {
    try {
      if (type == "grammar") return ebnf_node(grammar_, needed(place, "grammar"));
      Characters characters(grammar_, Spelling::plain);
      return read_regex(needed(place, "pattern"), characters).node;
    } catch (const GrammarError& e) {
      refuse(place.path, ": ", e.what());
    }
  }
  std::vector<NodeId> elements(const SchemaPlace& place) {
    if (!place.find("elements")) refuse(place.path, ".elements: is missing");
    place.expect_list("elements");
    std::vector<NodeId> nodes;
    for (std::size_t i = 0; i < place.schema.at("elements").size(); ++i)
      nodes.push_back(format(place.at("elements", i)));
    return nodes;
  }
  Tag tag(const SchemaPlace& place) {
    if (!place.find("content")) refuse(place.path, ".content: is missing");
    const SchemaPlace content = place.at("content");
    const std::string end = needed(place, "end");
    if (content.schema.is_object() && content.schema.value("type", Json()) == "any_text") {
      // Free text ends where the tag does.
      const RuleId text = grammar_.declare("text");
      TextUntil(grammar_, {end}).define(text, {grammar_.empty()}, false);
      return {needed(place, "begin"), grammar_.rule(text)};
    }
    return {needed(place, "begin"), grammar_.sequence({format(content), grammar_.literal(end)})};
  }
  std::vector<Tag> tags(const SchemaPlace& place) {
    if (!place.find("tags")) refuse(place.path, ".tags: is missing");
    place.expect_list("tags");
    std::vector<Tag> out;
    for (std::size_t i = 0; i < place.schema.at("tags").size(); ++i) {
      const SchemaPlace one = place.at("tags", i);
      if (!one.schema.is_object()) refuse(one.path, ": is not an object");
      out.push_back(tag(one));
    }
    return out;
  }
  /// Free text, in which a trigger begins a tag.
  NodeId triggered(const SchemaPlace& place, const std::vector<Tag>& tags) {
    const std::vector<std::string> triggers = words(place, "triggers");
    const bool once = flag(place, "stop_after_first"), needs_one = flag(place, "at_least_one");
    const RuleId first = grammar_.declare("text"), later = needs_one ? grammar_.declare("text") : first;
    const NodeId behind = once ? grammar_.empty() : grammar_.rule(later);
    std::vector<NodeId> after;
    std::vector<bool> used(tags.size());
    for (const std::string& trigger : triggers) {
      std::vector<NodeId> branches;
      for (std::size_t i = 0; i < tags.size(); ++i) {
        if (!tags[i].begin.starts_with(trigger)) continue;
        used[i] = true;
        branches.push_back(
            grammar_.sequence({grammar_.literal(tags[i].begin.substr(trigger.size())), tags[i].rest, behind}));
      }
      if (branches.empty()) place.wrong("triggers", cat("words with which tags begin: ", shown(trigger)));
      after.push_back(grammar_.choice(std::move(branches)));
    }
    if (std::find(used.begin(), used.end(), false) != used.end())
      place.wrong("triggers", "one with which each tag begins");
    TextUntil text(grammar_, triggers);
    text.define(first, after, !needs_one);
    if (later != first) text.define(later, after, true);
    return grammar_.rule(first);
  }
  NodeId separated(const SchemaPlace& place, const std::vector<Tag>& tags) {
    const bool once = flag(place, "stop_after_first"), needs_one = flag(place, "at_least_one");
    std::vector<NodeId> branches;
    for (const Tag& one : tags) branches.push_back(grammar_.sequence({grammar_.literal(one.begin), one.rest}));
    const NodeId any = grammar_.choice(std::move(branches));
    const NodeId more = grammar_.sequence({grammar_.literal(needed(place, "separator")), any});
    const NodeId list = once ? any : grammar_.sequence({any, grammar_.repeat(more, 0, Grammar::unbounded)});
    return needs_one ? list : grammar_.optional(list);
  }

  Grammar& grammar_;
  JsonLayout layout_;
  int level_ = 0;
};

}  // namespace detail

/// Answers that are free text but for tags whose content is bound, as vLLM takes them: {"structures": [{"begin",
/// "schema", "end"}], "triggers": [...]}, or {"format": {...}} with the types that xgrammar has.
/// errors  GrammarError names the field with its path
inline Grammar structural_tag_grammar(const Json& tag, const JsonLayout& layout = {}, const GrammarLimits& limits = {},
                                      const std::string& subject = "structural_tag") {
  Grammar grammar(limits);
  grammar.root = detail::StructuralTagReader(grammar, layout).read({tag, subject});
  return grammar;
}

}  // namespace lamina::grammar
