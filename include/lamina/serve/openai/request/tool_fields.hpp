#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/openai/answer/message_parser.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>
#include <lamina/serve/openai/request/structured_fields.hpp>

namespace lamina::serve {

/// What a request says about functions.
struct ToolUse {
  std::vector<Json> shown;  ///< to the model
  bool calls = false;       ///< calls are read from the answer
  bool one_call = false, named = false;
  std::optional<Structure> structure;  ///< for calls that must come
};

/// How the server treats functions.
struct ToolRules {
  const ToolMarks* marks = nullptr;  ///< of the model's layout; null: it has no place for functions
  bool automatic = false;            ///< --enable-auto-tool-choice
  bool exclude_unused = false;       ///< tools are not shown to the model if tool_choice is "none"
};

namespace detail {

/// Reads tools, tool_choice and parallel_tool_calls.
class ToolReader {
 public:
  ToolReader(const Json& body, const ToolRules& rules) : fields_(body), rules_(rules) {}

  ToolUse read() {
    tools_ = fields_.maybe_list("tools");
    out_.one_call = !fields_.boolean("parallel_tool_calls", true);
    if (tools_ && tools_->empty()) throw wrong_field("tools", "empty", "at least one tool; leave it out instead");
    const std::string choice = read_choice();
    if (!tools_) return std::move(out_);
    for (std::size_t i = 0; i < tools_->size(); ++i) read_function(i);
    if (choice != "none" || !rules_.exclude_unused)
      for (const auto& tool : *tools_) out_.shown.push_back(tool);
    if (choice != "none") allow_calls(choice);
    return std::move(out_);
  }

 private:
  /// none, auto, required or named.
  std::string read_choice() {
    const Json* choice = fields_.find("tool_choice");
    if (!choice) return tools_ ? "auto" : "none";
    if (choice->is_object()) {
      const Fields given(*choice, "tool_choice");
      const Json* function = given.find("function");
      if (given.maybe_text("type").value_or("") != "function" || !function)
        throw wrong_field("tool_choice", shown(*choice), "none, auto, required or an object that names a function");
      named_ = Fields(*function, "tool_choice.function").text("name");
    } else if (!choice->is_string() || (*choice != "none" && *choice != "auto" && *choice != "required")) {
      throw wrong_field("tool_choice", shown(*choice), "none, auto, required or an object that names a function");
    }
    if (!tools_ && *choice != "none")
      throw wrong_field("tool_choice", shown(*choice), "none, because the request has no tools");
    return named_.empty() ? choice->get<std::string>() : "named";
  }
  void read_function(std::size_t i) {
    const std::string path = cat("tools.", i);
    const Fields tool((*tools_)[i], path);
    if (tool.maybe_text("type").value_or("function") != "function")
      throw wrong_field(path + ".type", shown(*tool.find("type")), "function");
    const Fields function = tool.object("function");
    if (function.text("name").empty()) throw wrong_field(path + ".function.name", "empty", "a name");
    if (const Json* parameters = function.find("parameters"); parameters && !parameters->is_object())
      throw wrong_field(path + ".function.parameters", shown(*parameters), "a JSON schema");
  }

  void allow_calls(const std::string& choice) {
    if (!rules_.marks)
      throw not_implemented("tool_choice",
                            "tool_choice: the model's chat template has no place for tools; wanted none");
    if (choice == "auto" && !rules_.automatic)
      throw bad_field("tool_choice",
                      "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set; "
                      "required, a named function and none do not");
    out_.calls = true;
    out_.named = !named_.empty();
    if (choice != "auto") bind();
  }
  /// The answer must be calls as the model was taught to write them: of any function, or of the one that is named.
  void bind() {
    Json tags = Json::array();
    for (const auto& tool : *tools_)
      if (named_.empty() || tool["function"]["name"] == named_) tags.push_back(tag(tool["function"]));
    if (tags.empty())
      throw bad_field(
          "tool_choice",
          "The tool specified in `tool_choice` does not match any of the specified `tools`: " + clipped(named_));
    const Json format = {{"type", "tags_with_separator"},
                         {"tags", std::move(tags)},
                         {"separator", "\n"},
                         {"at_least_one", true},
                         {"stop_after_first", out_.one_call || out_.named}};
    out_.structure = Structure{
        {.kind = grammar::Constraint::Kind::structural_tag, .text = Json{{"format", format}}.dump()}, "tools"};
  }
  Json tag(const Json& function) const {
    Json schema = Json::object();
    if (const auto it = function.find("parameters"); it != function.end() && !it->is_null()) schema = *it;
    if (schema.empty()) schema = {{"type", "object"}, {"additionalProperties", true}};
    if (!schema.contains("type") && !schema.contains("$ref")) schema["type"] = "object";
    return {{"type", "tag"},
            {"begin", cat(rules_.marks->call_begin, "\n{\"name\": ", function["name"].dump(), ", \"arguments\": ")},
            {"content", {{"type", "json_schema"}, {"json_schema", std::move(schema)}}},
            {"end", cat("}\n", rules_.marks->call_end)}};
  }

  Fields fields_;
  const ToolRules& rules_;
  const Json* tools_ = nullptr;
  std::string named_;
  ToolUse out_;
};

}  // namespace detail

/// Checks and reads what a request says about functions. Errors are ApiErrors.
inline ToolUse read_tools(const Json& body, const ToolRules& rules) { return detail::ToolReader(body, rules).read(); }

}  // namespace lamina::serve
