#pragma once
#include <lamina/text/jinja/budget.hpp>
#include <lamina/text/jinja/parse/syntax.hpp>
#include <lamina/text/jinja/parse/token.hpp>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja::detail {

/// Reads expressions, in Jinja's order of precedence.
/// source  jinja2 3.1, Parser.parse_expression and what it calls
class ExpressionParser {
 protected:
  using Kind = Expression::Kind;

  ExpressionParser(std::vector<Token> tokens, const TemplateLimits& limits)
      : tokens_(std::move(tokens)), limits_(limits) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() {
    Token out = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return out;
  }
  bool skip_name(std::string_view name) { return current().is_name(name) && (take(), true); }
  bool skip_sign(std::string_view sign) { return current().is_sign(sign) && (take(), true); }
  std::string expect_name() {
    if (current().kind != Token::Kind::name) fail_here("a name");
    return take().text;
  }
  void expect_sign(std::string_view sign) {
    if (!skip_sign(sign)) fail_here(cat("\"", sign, "\""));
  }
  [[noreturn]] void fail_here(std::string_view wanted) const {
    static constexpr const char* what[] = {"text", "{{", "}}", "{%", "%}"};
    const auto& token = current();
    const auto kind = static_cast<std::size_t>(token.kind);
    const std::string found = token.kind == Token::Kind::end ? "the end of the template"
                              : kind < std::size(what)       ? std::string(what[kind])
                                                             : cat("\"", token.text, "\"");
    fail_at(token.line, "found ", found, ", wanted ", wanted);
  }

  /// Levels of brackets and blocks; one lives as long as its level is read.
  struct Level {
    explicit Level(ExpressionParser& parser) : parser(parser) {
      if (++parser.levels_ > parser.limits_.nesting)
        fail_at(parser.current().line, "expressions and blocks are nested more than ", parser.limits_.nesting,
                " levels deep");
    }
    ~Level() { --parser.levels_; }
    Level(const Level&) = delete;
    ExpressionParser& parser;
  };

  Expression expression() {
    const Level level(*this);
    Expression value = logical_or();
    while (current().is_name("if")) {
      const int line = take().line;
      Expression condition = logical_or();
      Expression other = skip_name("else") ? expression() : Expression{};
      value = make(Kind::conditional, line, {std::move(value), std::move(condition), std::move(other)});
    }
    return value;
  }
  /// Without "if": what a {% for %} and an {% if %} read.
  Expression simple_expression() {
    const Level level(*this);
    return logical_or();
  }
  /// Expressions with commas between them are a tuple, here also without brackets.
  Expression tuple(bool with_conditions, bool in_brackets = false) {
    const int line = current().line;
    std::vector<Expression> items;
    bool commas = false;
    while (!at_tuple_end()) {
      items.push_back(with_conditions ? expression() : simple_expression());
      if (!skip_sign(",")) break;
      commas = true;
    }
    if (!commas && !items.empty()) return std::move(items[0]);
    if (!commas && !in_brackets) fail_here("an expression");
    return make(Kind::tuple, line, std::move(items));
  }
  /// A filter without the value before it: name or name(arguments), and perhaps more behind "|".
  Expression filter_chain() {
    Expression out = filter(Expression{});
    while (skip_sign("|")) out = filter(std::move(out));
    return out;
  }

  /// A node of the tree; its depth is bounded, because all that walks it is recursive.
  Expression make(Kind kind, int line, std::vector<Expression> children, std::string text = {}) const {
    Expression out{.kind = kind, .line = line, .text = std::move(text), .children = std::move(children)};
    for (const Expression& child : out.children) out.depth = std::max(out.depth, child.depth + 1);
    if (out.depth > limits_.nesting)
      fail_at(line, "this expression is made of more than ", limits_.nesting, " others inside each other");
    return out;
  }

  bool in_macro_ = false;
  std::set<std::string, std::less<>> names_;  ///< that expressions read

 private:
  bool at_tuple_end() const {
    const Token& token = current();
    return token.kind == Token::Kind::expression_end || token.kind == Token::Kind::block_end || token.is_sign(")") ||
           token.is_name("recursive");
  }

  Expression logical_or() {
    Expression left = logical_and();
    while (current().is_name("or")) {
      const int line = take().line;
      Expression right = logical_and();
      left = make(Kind::logical_or, line, {std::move(left), std::move(right)});
    }
    return left;
  }
  Expression logical_and() {
    Expression left = logical_not();
    while (current().is_name("and")) {
      const int line = take().line;
      Expression right = logical_not();
      left = make(Kind::logical_and, line, {std::move(left), std::move(right)});
    }
    return left;
  }
  Expression logical_not() {
    if (!current().is_name("not")) return compare();
    const Level level(*this);
    const int line = take().line;
    return make(Kind::unary, line, {logical_not()}, "not");
  }

  Expression compare() {
    const int line = current().line;
    std::vector<Expression> items{sum()};
    std::vector<std::string> words;
    for (;;) {
      const Token& token = current();
      const bool sign = token.is_sign("==") || token.is_sign("!=") || token.is_sign("<") || token.is_sign("<=") ||
                        token.is_sign(">") || token.is_sign(">=");
      if (sign || token.is_name("in"))
        words.push_back(take().text);
      else if (token.is_name("not") && ahead().is_name("in"))
        take(), take(), words.push_back("notin");
      else
        break;
      items.push_back(sum());
    }
    if (words.empty()) return std::move(items[0]);
    Expression out = make(Kind::compare, line, std::move(items));
    out.words = std::move(words);
    return out;
  }

  using Reader = Expression (ExpressionParser::*)();
  Expression binary(std::initializer_list<std::string_view> signs, Reader operand) {
    Expression left = (this->*operand)();
    for (;;) {
      const Token& token = current();
      if (std::none_of(signs.begin(), signs.end(), [&](auto sign) { return token.is_sign(sign); })) return left;
      const Token sign = take();
      Expression right = (this->*operand)();
      left = make(Kind::binary, sign.line, {std::move(left), std::move(right)}, sign.text);
    }
  }
  Expression sum() { return binary({"+", "-"}, &ExpressionParser::concat); }
  Expression concat() {
    const int line = current().line;
    std::vector<Expression> items{product()};
    while (skip_sign("~")) items.push_back(product());
    return items.size() == 1 ? std::move(items[0]) : make(Kind::concat, line, std::move(items));
  }
  Expression product() { return binary({"*", "/", "//", "%"}, &ExpressionParser::power); }
  Expression power() { return binary({"**"}, &ExpressionParser::unary_with_filters); }
  Expression unary_with_filters() { return unary(true); }

  Expression unary(bool with_filters) {
    const Level level(*this);
    Expression out;
    if (current().is_sign("-") || current().is_sign("+")) {
      const Token sign = take();
      out = make(Kind::unary, sign.line, {unary(false)}, sign.text);
    } else {
      out = primary();
    }
    out = postfix(std::move(out));
    while (with_filters) {
      if (skip_sign("|"))
        out = filter(std::move(out));
      else if (current().is_name("is"))
        out = test(std::move(out));
      else if (current().is_sign("("))
        out = call(std::move(out));
      else
        break;
    }
    return out;
  }

  Expression literal(int line, Value value) const {
    Expression out{.kind = Kind::literal, .line = line};
    out.value = std::move(value);
    return out;
  }
  Expression primary() {
    if (current().is_sign("[")) return list();
    if (current().is_sign("{")) return dict();
    if (current().is_sign("(")) {
      take();
      Expression out = tuple(true, true);
      expect_sign(")");
      return out;
    }
    const int line = current().line;
    switch (current().kind) {
      case Token::Kind::name:
        return name();
      case Token::Kind::integer:
        return literal(line, take().integer);
      case Token::Kind::number:
        return literal(line, take().number);
      case Token::Kind::string: {
        std::string text;
        while (current().kind == Token::Kind::string) text += take().text;
        return literal(line, Value::words(std::move(text)));
      }
      default:
        fail_here("an expression");
    }
  }
  Expression name() {
    const Token token = take();
    if (token.text == "true" || token.text == "True") return literal(token.line, true);
    if (token.text == "false" || token.text == "False") return literal(token.line, false);
    if (token.text == "none" || token.text == "None") return literal(token.line, None{});
    if (in_macro_ && (token.text == "varargs" || token.text == "kwargs"))
      fail_at(token.line, token.text, " of a macro is not supported");
    names_.insert(token.text);
    return make(Kind::name, token.line, {}, token.text);
  }
  Expression list() {
    const int line = take().line;
    std::vector<Expression> items;
    while (!current().is_sign("]")) {
      items.push_back(expression());
      if (!skip_sign(",")) break;
    }
    expect_sign("]");
    return make(Kind::list, line, std::move(items));
  }
  Expression dict() {
    const int line = take().line;
    std::vector<Expression> items;
    while (!current().is_sign("}")) {
      items.push_back(expression());
      expect_sign(":");
      items.push_back(expression());
      if (!skip_sign(",")) break;
    }
    expect_sign("}");
    return make(Kind::dict, line, std::move(items));
  }

  Expression postfix(Expression out) {
    for (;;) {
      if (current().is_sign("."))
        out = attribute(std::move(out));
      else if (current().is_sign("["))
        out = item(std::move(out));
      else if (current().is_sign("("))
        out = call(std::move(out));
      else
        return out;
    }
  }
  Expression attribute(Expression of) {
    const int line = take().line;
    if (current().kind == Token::Kind::integer)
      return make(Kind::item, line, {std::move(of), literal(line, take().integer)});
    std::string text = expect_name();
    return make(Kind::attribute, line, {std::move(of)}, std::move(text));
  }
  Expression item(Expression of) {
    const int line = take().line;
    Expression key = subscript();
    if (current().is_sign(",")) fail_at(line, "an index with commas is not supported");
    expect_sign("]");
    return make(Kind::item, line, {std::move(of), std::move(key)});
  }
  Expression subscript() {
    const int line = current().line;
    const auto part = [&] {
      const bool empty = current().is_sign(":") || current().is_sign("]");
      return empty ? Expression{} : expression();
    };
    std::vector<Expression> parts{part()};
    if (!current().is_sign(":"))
      return parts[0].is_written() ? std::move(parts[0]) : (fail_here("an index"), Expression{});
    while (parts.size() < 3 && skip_sign(":")) parts.push_back(part());
    parts.resize(3);
    return make(Kind::slice, line, std::move(parts));
  }

  /// "(" arguments ")" behind out.children[0].
  void arguments(Expression& out) {
    expect_sign("(");
    while (!current().is_sign(")")) {
      if (current().is_sign("*") || current().is_sign("**"))
        fail_at(current().line, "arguments unpacked by ", current().text, " are not supported");
      if (current().kind == Token::Kind::name && ahead().is_sign("=")) {
        std::string name = take().text;
        take();
        out.named.emplace_back(std::move(name), expression());
      } else {
        if (!out.named.empty()) fail_here("a named argument, as those before it");
        out.children.push_back(expression());
      }
      if (!skip_sign(",")) break;
    }
    expect_sign(")");
    for (const auto& child : out.children) out.depth = std::max(out.depth, child.depth + 1);
    for (const auto& [name, child] : out.named) out.depth = std::max(out.depth, child.depth + 1);
    if (out.depth > limits_.nesting) fail_at(out.line, "this call is nested too deep");
  }
  Expression call(Expression of) {
    Expression out = make(Kind::call, current().line, {std::move(of)});
    arguments(out);
    return out;
  }
  Expression filter(Expression of) {
    const int line = current().line;
    Expression out = make(Kind::filter, line, {std::move(of)}, dotted_name());
    if (current().is_sign("(")) arguments(out);
    check_filter(out.text, line);
    return out;
  }
  Expression test(Expression of) {
    const int line = take().line;
    const bool negated = skip_name("not");
    Expression out = make(Kind::test, line, {std::move(of)}, dotted_name());
    check_test(out.text, line);
    const Token& token = current();
    const bool one_argument =
        token.kind == Token::Kind::string || token.kind == Token::Kind::integer || token.kind == Token::Kind::number ||
        token.is_sign("[") || token.is_sign("{") ||
        (token.kind == Token::Kind::name && !token.is_name("else") && !token.is_name("or") && !token.is_name("and"));
    if (token.is_sign("(")) {
      arguments(out);
    } else if (one_argument) {
      if (token.is_name("is")) fail_at(token.line, "tests cannot follow each other: write \"and\" between them");
      out.children.push_back(postfix(primary()));
    }
    return negated ? make(Kind::unary, line, {std::move(out)}, "not") : out;
  }
  std::string dotted_name() {
    std::string out = expect_name();
    while (skip_sign(".")) out += "." + expect_name();
    return out;
  }

  /// TemplateError for names that this build does not have.
  static void check_filter(const std::string& name, int line);
  static void check_test(const std::string& name, int line);

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  TemplateLimits limits_;
  int levels_ = 0;
};

}  // namespace lamina::text::jinja::detail
