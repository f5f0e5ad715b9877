#pragma once
#include <lamina/text/jinja/parse/expression_parser.hpp>
#include <lamina/text/jinja/parse/lexer.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja::detail {

/// Reads statements.
/// source  jinja2 3.1, Parser.parse_statement and what it calls
class Parser : ExpressionParser {
 public:
  Parser(std::string_view source, const TemplateLimits& limits) : ExpressionParser(tokenize(source), limits) {}

  Block read() {
    Block out = block({});
    if (current().kind != Token::Kind::end) fail_here("the end of the template");
    return out;
  }
  /// The names that expressions of the template read, its own variables among them.
  const auto& names() const { return names_; }

 private:
  using Kind = Statement::Kind;

  /// Statements up to a tag of one of these names, at which it stops, or up to the template's end if there are none.
  Block block(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    Block out;
    for (;;) {
      const int line = current().line;
      if (current().kind == Token::Kind::end) {
        if (ends.size() == 0) return out;
        fail_at(line, "the template ends, wanted {% ", *(ends.end() - 1), " %}");
      } else if (current().kind == Token::Kind::data) {
        out.push_back({.kind = Kind::data, .line = line, .text = take().text});
      } else if (current().kind == Token::Kind::expression_begin) {
        take();
        out.push_back({.kind = Kind::output, .line = line});
        out.back().expressions.push_back(tuple(true));
        if (current().kind != Token::Kind::expression_end) fail_here("}}");
        take();
      } else {
        take();
        const Token& name = current();
        if (name.kind != Token::Kind::name) fail_here("the name of a statement");
        if (std::find(ends.begin(), ends.end(), name.text) != ends.end()) return out;
        statement(out);
        end_tag();
      }
    }
  }
  /// The rest of a tag, a block behind it, and the name of the tag that ends the block.
  Block body(std::initializer_list<std::string_view> ends, std::string& end) {
    skip_sign(":");
    end_tag();
    Block out = block(ends);
    end = take().text;
    return out;
  }
  Block body(std::string_view end) {
    std::string found;
    return body({end}, found);
  }
  void end_tag() {
    if (current().kind != Token::Kind::block_end) fail_here("%}");
    take();
  }

  void statement(Block& out) {
    const Token name = take();
    using Reader = void (Parser::*)(Statement&);
    static constexpr std::pair<std::string_view, std::pair<Kind, Reader>> readers[] = {
        {"if", {Kind::conditional, &Parser::conditional}},
        {"for", {Kind::loop, &Parser::loop}},
        {"set", {Kind::set, &Parser::set}},
        {"with", {Kind::with, &Parser::with}},
        {"macro", {Kind::macro, &Parser::macro}},
        {"call", {Kind::call, &Parser::call}},
        {"filter", {Kind::filter, &Parser::filter}},
        {"generation", {Kind::generation, &Parser::generation}},
        {"print", {Kind::output, &Parser::print}},
        {"break", {Kind::leave, &Parser::jump}},
        {"continue", {Kind::next, &Parser::jump}}};
    for (const auto& [known, reader] : readers) {
      if (name.text != known) continue;
      Statement read{.kind = reader.first, .line = name.line};
      (this->*reader.second)(read);
      return out.push_back(std::move(read));
    }
    static constexpr std::string_view jinjas[] = {"include",    "import", "from",  "extends", "block",
                                                  "autoescape", "do",     "trans", "debug"};
    if (std::find(std::begin(jinjas), std::end(jinjas), name.text) != std::end(jinjas))
      fail_at(name.line, "{% ", name.text, " %} is not supported in chat templates");
    fail_at(name.line, "{% ", name.text, " %} is unknown, or ends a block that did not begin");
  }

  void conditional(Statement& out) {
    std::string end = "elif";
    while (end == "elif") {
      out.expressions.push_back(tuple(false));
      out.blocks.push_back(body({"elif", "else", "endif"}, end));
    }
    if (end == "else") out.blocks.push_back(body("endif"));
  }

  void loop(Statement& out) {
    out.targets.push_back(target(false));
    if (!skip_name("in")) fail_here("\"in\"");
    out.expressions.push_back(tuple(false));
    out.expressions.push_back(skip_name("if") ? expression() : Expression{});
    if (current().is_name("recursive")) fail_at(out.line, "{% for ... recursive %} is not supported");
    std::string end;
    ++loops_;
    out.blocks.push_back(body({"else", "endfor"}, end));
    --loops_;
    if (end == "else") out.blocks.push_back(body("endfor"));
  }

  void set(Statement& out) {
    out.targets.push_back(target(true));
    if (skip_sign("=")) {
      out.expressions.push_back(tuple(true));
      return;
    }
    out.kind = Kind::set_block;
    out.expressions.push_back(skip_sign("|") ? filter_chain() : Expression{});
    out.blocks.push_back(body("endset"));
  }

  void with(Statement& out) {
    while (current().kind != Token::Kind::block_end) {
      if (!out.targets.empty()) expect_sign(",");
      out.targets.push_back(target(false));
      expect_sign("=");
      out.expressions.push_back(expression());
    }
    out.blocks.push_back(body("endwith"));
  }

  void macro(Statement& out) {
    out.text = expect_name();
    parameters(out);
    function_body(out, "endmacro");
  }
  void call(Statement& out) {
    if (current().is_sign("(")) parameters(out);
    out.expressions.push_back(expression());
    if (out.expressions[0].kind != Expression::Kind::call) fail_at(out.line, "{% call %} wants the call of a macro");
    function_body(out, "endcall");
  }
  /// A loop around it is not left from within.
  void function_body(Statement& out, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    const bool in_macro = std::exchange(in_macro_, in_macro_ || out.kind == Kind::macro);
    out.blocks.push_back(body(end));
    loops_ = loops, in_macro_ = in_macro;
  }
  void parameters(Statement& out) {
    expect_sign("(");
    while (!current().is_sign(")")) {
      const int line = current().line;
      std::string name = expect_name();
      Expression value = skip_sign("=") ? expression() : Expression{};
      if (!value.is_written() && !out.parameters.empty() && out.parameters.back().second.is_written())
        fail_at(line, "parameter ", name, " has no default, but the one before it has");
      out.parameters.emplace_back(std::move(name), std::move(value));
      if (!skip_sign(",")) break;
    }
    expect_sign(")");
  }

  void filter(Statement& out) {
    out.expressions.push_back(filter_chain());
    out.blocks.push_back(body("endfilter"));
  }
  void generation(Statement& out) { out.blocks.push_back(body("endgeneration")); }
  void print(Statement& out) {
    do out.expressions.push_back(expression());
    while (skip_sign(","));
  }
  void jump(Statement& out) {
    if (loops_ == 0)
      fail_at(out.line, "{% ", out.kind == Kind::leave ? "break" : "continue", " %} stands outside of a {% for %}");
  }

  Target target(bool may_be_attribute) {
    Target out;
    const bool brackets = skip_sign("(");
    do {
      if (!out.names.empty() && current().kind != Token::Kind::name) break;  // a comma at the end
      const int line = current().line;
      out.names.push_back(expect_name());
      static constexpr std::string_view constants[] = {"true", "True", "false", "False", "none", "None"};
      if (std::find(std::begin(constants), std::end(constants), out.names.back()) != std::end(constants))
        fail_at(line, "cannot assign to ", out.names.back());
      if (may_be_attribute && out.names.size() == 1 && skip_sign(".")) {
        out.attribute = expect_name();
        if (out.attribute.starts_with('_')) fail_at(line, "names of a namespace cannot begin with _");
        return out;
      }
      if (current().is_name("in")) break;
      if (current().is_sign(",")) out.unpack = true;
    } while (skip_sign(","));
    if (brackets) expect_sign(")");
    return out;
  }

  int loops_ = 0;
};

}  // namespace lamina::text::jinja::detail
