#pragma once
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/io/utf8.hpp>

/// The one way in which text becomes YAML: one document, checked as OmegaConf and PyYAML check it.
namespace lamina::io {

namespace detail {

/// Checks a document's values and puts merge keys into effect.
class YamlCheck {
 public:
  YamlCheck(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  void visit(YAML::Node node) {
    if (++visited_ > most_values)
      fail(at(node), ": the file holds more than ", most_values,
           " values, counted with what its aliases repeat: write it out without aliases that contain others");
    if (++depth_ > most_levels)
      fail(at(node), ": values are nested more than ", most_levels, " deep, or an alias contains itself");
    check_tag(node);
    check_quotes(node);
    if (node.IsMap()) {
      check_keys(node);
      merge(node);
      for (const auto& entry : node) {
        key_ = entry.first.Scalar();
        visit(entry.second);
      }
    } else if (node.IsSequence()) {
      for (const auto& item : node) visit(item);
    } else if (node.IsScalar() && !is_valid_utf8(node.Scalar())) {
      fail(at(node), key_.empty() ? "" : ", " + key_, ": the value is not UTF-8 text: ", advice);
    }
    --depth_;
  }

  static constexpr int most_levels = 64;

 private:
  static constexpr int most_values = 100'000;
  static constexpr std::string_view advice =
      "write it as UTF-8; rename a file or folder whose name is not, because JSON files cannot hold that name";

  std::string at(const YAML::Node& node) const {
    return node.Mark().is_null() ? file_ : cat(file_, " line ", node.Mark().line + 1);
  }
  void check_tag(const YAML::Node& node) const {
    const std::string& tag = node.Tag();
    if (tag.empty() || tag == "?" || tag == "!") return;
    for (const char* known : {"str", "int", "float", "bool", "null", "seq", "map"})
      if (tag == std::string("tag:yaml.org,2002:") + known) return;
    fail(at(node), ": the tag ", tag, " is not understood: write a plain value");
  }
  /// yaml-cpp takes the end of the text for the closing quote of a value that goes on to there.
  void check_quotes(const YAML::Node& node) const {
    if (!node.IsScalar() || node.Mark().is_null()) return;
    std::size_t i = static_cast<std::size_t>(node.Mark().pos);
    while (i < text_.size() && (text_[i] == '&' || text_[i] == '!'))  // its anchor, its tag
      i = std::min(text_.find_first_not_of(" \t\r\n", text_.find_first_of(" \t\r\n", i)), text_.size());
    if (i >= text_.size() || (text_[i] != '"' && text_[i] != '\'')) return;
    const char quote = text_[i];
    for (++i; i < text_.size(); ++i) {
      const bool doubled = quote == '\'' && text_.substr(i, 2) == "''", escaped = quote == '"' && text_[i] == '\\';
      if (doubled || escaped)
        ++i;
      else if (text_[i] == quote)
        return;
    }
    fail(at(node), key_.empty() ? "" : ", " + key_, ": the quote ", quote, " is never closed");
  }
  void check_keys(const YAML::Node& map) const {
    std::vector<std::string_view> seen;
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) fail(at(entry.first), ": a key is not a plain word, wanted `key: value`");
      check_quotes(entry.first);
      const std::string& key = entry.first.Scalar();
      if (!is_valid_utf8(key)) fail(at(entry.first), ": a key is not UTF-8 text: ", advice);
      for (const std::string_view before : seen)
        if (before == key) fail(at(entry.first), ": ", key, " is set twice: keep one");
      seen.push_back(key);
    }
  }
  /// `<<: *defaults`, or a list of such: what a map does not set itself comes from there, the first in the list first.
  void merge(YAML::Node map) const {
    const YAML::Node& set = map;  // a look-up in a map that may change would add the key
    const YAML::Node from = set["<<"];
    if (!from) return;
    const auto take = [&](const YAML::Node& defaults) {
      if (!defaults.IsMap()) fail(at(from), ": <<: wanted a mapping, or a list of mappings, to take values from");
      for (const auto& entry : defaults)
        if (!set[entry.first.Scalar()]) map[entry.first] = entry.second;
    };
    map.remove("<<");
    if (!from.IsSequence()) return take(from);
    for (const auto& defaults : from) take(defaults);
  }

  std::string_view text_;
  std::string file_, key_;  ///< key_: of the value that is visited
  int visited_ = 0, depth_ = 0;
};

/// The documents of a text; Error, with line and column, if it is not YAML.
inline std::vector<YAML::Node> yaml_documents(const std::string& text, std::string_view file) {
  try {
    return YAML::LoadAll(text);
  } catch (const YAML::DeepRecursion& e) {
    fail(file, e.mark.is_null() ? "" : cat(" line ", e.mark.line + 1), ": values are nested more than ",
         YamlCheck::most_levels, " deep");
  } catch (const YAML::Exception& e) {
    fail(file, e.mark.is_null() ? "" : cat(" line ", e.mark.line + 1, " column ", e.mark.column + 1),
         ": not readable as YAML: ", e.msg);
  }
}

}  // namespace detail

/// The document in `text`; null if it holds nothing. Every map has each key once, and its merge keys (`<<`) are in
/// effect. Error, naming file and line, on text that is not YAML, a second document, a key that is set twice at any
/// depth, a quote that is not closed, a tag that is not YAML's own, text that is not UTF-8, and values that repeat
/// themselves without end.
inline YAML::Node load_yaml(std::string text, std::string_view file) {
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // the mark that some Windows editors put in front
  const std::vector<YAML::Node> documents = detail::yaml_documents(text, file);
  if (documents.size() > 1)
    fail(file,
         ": a line `---` or `...` begins a second YAML document, and a file of settings is one: remove that line");
  if (!documents.empty()) detail::YamlCheck(text, file).visit(documents.front());
  // Keys and values were checked above. This finds the rest: comments, and UTF-16, which yaml-cpp converts by itself.
  if (!is_valid_utf8(text)) fail(file, ": is not UTF-8 text: write it as UTF-8");
  return documents.empty() ? YAML::Node() : documents.front();
}

}  // namespace lamina::io
