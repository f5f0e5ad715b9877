#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/constraint.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>

namespace lamina::serve {

/// What an answer must be, and the field that says so.
struct Structure {
  grammar::Constraint constraint;
  std::string field;
};

namespace detail {

/// Reads the fields that bind answers: response_format of OpenAI's API, structured_outputs of vLLM's, and guided_* and
/// structural_tag of its older versions. At most one of them may.
class StructureReader {
 public:
  explicit StructureReader(const Json& body) : fields_(body) {}

  std::optional<Structure> read() {
    read_response_format();
    if (const Json* outputs = fields_.find("structured_outputs")) read_outputs(*outputs);
    for (const char* kind : {"json", "regex", "choice", "grammar"}) add(fields_, kind, cat("guided_", kind));
    add(fields_, "structural_tag", "structural_tag");
    if (const auto pattern = fields_.maybe_text("guided_whitespace_pattern")) layout_.whitespace = *pattern;
    if (!found_ && !layout_.whitespace.empty())
      throw wrong_field("guided_whitespace_pattern", clipped(layout_.whitespace),
                        "nothing, because there is no guided_json");
    if (!found_) return {};
    found_->constraint.compact = layout_.compact;
    found_->constraint.whitespace = layout_.whitespace;
    return std::move(found_);
  }

 private:
  using Kind = grammar::Constraint::Kind;

  void read_response_format() {
    const Json* format = fields_.find("response_format");
    if (!format) return;
    const Fields given(*format, "response_format");
    const std::string type = given.maybe_text("type").value_or("missing");
    if (type == "json_object") {
      set({.kind = Kind::json_object}, "response_format");
    } else if (type == "json_schema") {
      const Json* named = given.find("json_schema");
      if (!named)
        throw bad_field("response_format.json_schema",
                        "When response_format type is 'json_schema', the 'json_schema' field must be provided.");
      const Fields inner(*named, "response_format.json_schema");
      inner.boolean("strict");  // answers always follow the schema as it is
      const Json* schema = inner.find("schema");
      if (!schema) throw wrong_field("response_format.json_schema.schema", "missing", "a JSON schema");
      set({.kind = Kind::json_schema, .text = text_of(*schema)}, "response_format.json_schema.schema");
    } else if (type == "structural_tag") {
      set({.kind = Kind::structural_tag, .text = text_of(*format)}, "response_format");
    } else if (type != "text") {
      throw wrong_field("response_format.type", clipped(type), "text, json_object, json_schema or structural_tag");
    }
  }
  void read_outputs(const Json& outputs) {
    const Fields given(outputs, "structured_outputs");
    for (const char* kind : {"json", "regex", "choice", "grammar", "structural_tag"})
      add(given, kind, cat("structured_outputs.", kind), kind);
    if (given.boolean("json_object")) set({.kind = Kind::json_object}, "structured_outputs.json_object");
    layout_.compact = given.boolean("disable_any_whitespace");
    layout_.whitespace = given.maybe_text("whitespace_pattern").value_or("");
    given.boolean("disable_additional_properties");  // a schema that names properties has no others anyway
    given.boolean("disable_fallback");               // there is nothing to fall back to
    if (!found_)
      throw bad_field(
          "structured_outputs",
          "structured_outputs: You must use one kind of structured outputs constraint but none are specified");
  }
  /// A field of one kind of constraint, if it is there. name: its own in `fields`; by default all of the path
  void add(const Fields& fields, const std::string& kind, const std::string& path, const char* name = nullptr) {
    const char* key = name ? name : path.c_str();
    const Json* value = fields.find(key);
    if (!value) return;
    if (kind == "json") return set({.kind = Kind::json_schema, .text = schema_text(*value, path)}, path);
    if (kind == "structural_tag") return set({.kind = Kind::structural_tag, .text = schema_text(*value, path)}, path);
    if (kind == "choice") return set({.kind = Kind::choice, .choices = choices(*value, path)}, path);
    set({.kind = kind == "regex" ? Kind::regex : Kind::ebnf, .text = *fields.maybe_text(key)}, path);
  }
  static std::vector<std::string> choices(const Json& list, const std::string& path) {
    if (!list.is_array() || list.empty()) throw wrong_field(path, shown(list), "a list of strings that is not empty");
    std::vector<std::string> out;
    for (const Json& choice : list) {
      if (!choice.is_string()) throw wrong_field(cat(path, ".", out.size()), shown(choice), "a string");
      out.push_back(choice.get<std::string>());
    }
    return out;
  }
  static std::string text_of(const Json& value) { return value.dump(); }
  /// A schema may come as JSON, or as a string that holds it.
  static std::string schema_text(const Json& value, const std::string& path) {
    if (value.is_object()) return text_of(value);
    if (!value.is_string()) throw wrong_field(path, shown(value), "a JSON schema, or a string that is one");
    try {
      return text_of(io::parse_json<Json>(value.get_ref<const std::string&>(), client_json_limits(path)));
    } catch (const Error& e) {
      throw bad_field(path, e.what());
    }
  }
  void set(grammar::Constraint constraint, const std::string& field) {
    if (found_)
      throw bad_field(field, cat(field,
                                 ": You can only use one kind of constraints for structured outputs ('json', "
                                 "'regex' or 'choice'); ",
                                 found_->field, " is another one"));
    found_ = Structure{std::move(constraint), field};
  }

  Fields fields_;
  std::optional<Structure> found_;
  struct {
    bool compact = false;
    std::string whitespace;
  } layout_;
};

}  // namespace detail

/// What the answer to a request must be; nothing if it may be any text. The grammar itself is not looked at yet.
inline std::optional<Structure> read_structure(const Json& body) { return detail::StructureReader(body).read(); }

}  // namespace lamina::serve
