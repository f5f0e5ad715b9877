#pragma once
#include <lamina/text/jinja/budget.hpp>
#include <lamina/text/jinja/evaluator.hpp>
#include <lamina/text/jinja/parse/parser.hpp>
#include <lamina/text/prompt_segment.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Chat templates: the part of Jinja2 that they are written in, with the settings and functions that transformers gives
/// them. What is left out is refused by its name when a template is compiled (statements, filters, tests) or when it is
/// reached (methods, functions).
///
/// Different from Jinja2 on purpose: a generator, a range and a function cannot be printed; integers have 64 bits; the
/// filter safe marks nothing; case is changed letter by letter.
namespace lamina::text::jinja {
namespace detail {

inline Value from_json(const nlohmann::ordered_json& json, bool from_input, std::int64_t& bytes) {
  bytes += 16;
  const auto text = [&](const std::string& utf8) {
    bytes += static_cast<std::int64_t>(utf8.size());
    return AuthoredText(io::is_valid_utf8(utf8) ? utf8 : io::replace_invalid_utf8(utf8), from_input);
  };
  if (json.is_string()) return text(json.get_ref<const std::string&>());
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    return LargeInteger{json.get<std::uint64_t>()};
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_array()) {
    std::vector<Value> items;
    for (const auto& item : json) items.push_back(from_json(item, from_input, bytes));
    return make_list(std::move(items));
  }
  if (!json.is_object()) return None{};
  auto out = std::make_shared<Dict>();
  for (const auto& [key, value] : json.items()) out->set(text(key), from_json(value, from_input, bytes));
  return std::shared_ptr<const Dict>(std::move(out));
}

}  // namespace detail

/// The variables that a template is given, and a measure of their size.
class TemplateVariables {
 public:
  /// Who wrote the texts of a value: those of the model's folder may spell control tokens.
  enum class Author { input, model_folder };

  /// Values to set, or to be part of others; their bytes are counted here.
  Value value(const nlohmann::ordered_json& json, Author author = Author::input) {
    return detail::from_json(json, author == Author::input, bytes_);
  }
  Value text(std::string utf8, Author author = Author::input) {
    bytes_ += 16 + static_cast<std::int64_t>(utf8.size());
    return AuthoredText(io::is_valid_utf8(utf8) ? std::move(utf8) : io::replace_invalid_utf8(utf8),
                        author == Author::input);
  }

  /// A variable of that name replaces the one before.
  void set_value(std::string_view name, Value value) {
    names_.set(AuthoredText(std::string(name), false), std::move(value));
  }
  void set(std::string_view name, const nlohmann::ordered_json& json, Author author = Author::input) {
    set_value(name, value(json, author));
  }

  const Dict& names() const { return names_; }
  /// Bytes of texts, and 16 for each value.
  std::int64_t bytes() const { return bytes_; }

 private:
  Dict names_;
  std::int64_t bytes_ = 0;
};

/// A compiled template. Any number of threads may render it.
class Template {
 public:
  /// TemplateError with the line for what Jinja does not read or this does not support.
  static Template compile(std::string_view source, const TemplateLimits& limits = {}) {
    if (source.size() > limits.template_bytes)
      throw TemplateError(
          cat("chat template: is ", source.size(), " bytes long, wanted at most ", limits.template_bytes));
    detail::Parser parser(source, limits);
    auto program = std::make_shared<Program>();
    program->block = parser.read();
    program->names = parser.names();
    program->limits = limits;
    Template out;
    out.program_ = std::move(program);
    return out;
  }

  /// The prompt, cut where its author changes. TemplateError with the line; RaisedByTemplate if the template called
  /// raise_exception; throws Cancelled.
  std::vector<PromptSegment> render(const TemplateVariables& variables, std::stop_token cancelled = {},
                                    std::time_t now = std::time(nullptr)) const {
    Budget budget(program_->limits, variables.bytes(), std::move(cancelled));
    return detail::Evaluator(variables.names(), budget, now).run(program_->block).segments();
  }

  /// Does an expression of the template read this name? Also true for its own variables.
  bool reads(std::string_view name) const { return program_->names.contains(name); }

  const Block& block() const { return program_->block; }

 private:
  struct Program {
    Block block;
    std::set<std::string, std::less<>> names;
    TemplateLimits limits;
  };
  std::shared_ptr<const Program> program_;
};

}  // namespace lamina::text::jinja
