#pragma once
#include <lamina/text/jinja/builtins/filters.hpp>
#include <lamina/text/jinja/builtins/functions.hpp>
#include <lamina/text/jinja/parse/syntax.hpp>
#include <lamina/text/jinja/scope.hpp>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja::detail {

/// Computes expressions. Macros are run by the Evaluator that derives from this.
class ExpressionEvaluator {
 public:
  virtual ~ExpressionEvaluator() = default;

 protected:
  using Kind = Expression::Kind;

  /// variables: what the template is given.
  ExpressionEvaluator(const Dict& variables, Budget& budget, Functions functions)
      : budget_(budget), functions_(std::move(functions)), variables_(variables) {}

  /// The text that a macro writes, called with these arguments.
  virtual Value call_macro(const Callable& macro, const CallArguments& arguments) = 0;

  Value evaluate(const Expression& e) {
    const Call call(*this);
    line_ = e.line;
    budget_.take();
    switch (e.kind) {
      case Kind::literal:
        return e.value;
      case Kind::name:
        return name(e.text);
      case Kind::list:
        return make_list(all(e.children));
      case Kind::tuple:
        return make_tuple(all(e.children));
      case Kind::dict:
        return dict(e);
      case Kind::attribute:
        return at(e, [&, of = evaluate(e.children[0])] { return attribute(of, e.text); });
      case Kind::item:
        return subscript(e);
      case Kind::call: {
        const Value callee = evaluate(e.children[0]);
        return call_value(e, callee, arguments(e));
      }
      case Kind::filter:
        return filtered(e, evaluate(e.children[0]));
      case Kind::test: {
        const Value value = evaluate(e.children[0]);
        const CallArguments given = arguments(e);
        return at(e, [&]() -> Value { return apply_test(e.text, value, given, budget_); });
      }
      case Kind::conditional:
        return conditional(e);
      case Kind::logical_and:
      case Kind::logical_or: {
        Value left = evaluate(e.children[0]);
        return truth(left) == (e.kind == Kind::logical_or) ? left : evaluate(e.children[1]);
      }
      case Kind::unary:
      case Kind::binary:
      case Kind::concat:
      case Kind::compare:
        return operation(e);
      case Kind::slice:
      case Kind::none:
        break;
    }
    return None{};
  }

  /// value | e.text(arguments)
  Value filtered(const Expression& e, const Value& value) {
    const CallArguments given = arguments(e);
    return at(e, [&] { return apply_filter(e.text, value, given, budget_); });
  }
  /// Text through a chain of filters that has no value before it.
  Value through_filters(const Expression& e, const Value& value) {
    return filtered(e, e.children[0].is_written() ? through_filters(e.children[0], value) : value);
  }

  CallArguments arguments(const Expression& e) {
    CallArguments out;
    for (std::size_t i = 1; i < e.children.size(); ++i) out.positional.push_back(evaluate(e.children[i]));
    for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(value));
    return out;
  }

  Value call_value(const Expression& e, const Value& callee, const CallArguments& given) {
    return at(e, [&]() -> Value {
      const auto* function = callee.callable();
      if (callee.is_undefined()) fail_undefined(callee);
      if (!function) fail("a ", callee.type_name(), " cannot be called");
      if (function->macro) return call_macro(*function, given);
      if (!function->self) return functions_.call(function->name, given, budget_);
      if (const auto loop = function->self->loop()) return Functions::call_loop(*loop, function->name, given, budget_);
      return call_method(*function->self, function->name, given, budget_);
    });
  }

  /// Counts evaluations inside each other, over macros.
  struct Call {
    explicit Call(ExpressionEvaluator& evaluator) : evaluator(evaluator) {
      if (++evaluator.calls_ > evaluator.budget_.limits().calls)
        fail("expressions and macros are called more than ", evaluator.budget_.limits().calls, " levels deep");
    }
    ~Call() { --evaluator.calls_; }
    Call(const Call&) = delete;
    ExpressionEvaluator& evaluator;
  };

  Budget& budget_;
  Functions functions_;
  std::shared_ptr<Scope> scope_ = std::make_shared<Scope>(nullptr);
  int line_ = 1;  ///< of what is computed, for messages

 private:
  /// f(), whose errors are of e's line, whatever was computed for it.
  template <class F>
  Value at(const Expression& e, F&& f) {
    line_ = e.line;
    return f();
  }

  Value name(const std::string& text) {
    if (const Value* found = scope_->find(text)) return *found;
    if (const Value* found = variables_.find(text)) return *found;
    if (Functions::has(text)) return std::make_shared<const Callable>(Callable{text, {}});
    return Value::undefined(cat("'", text.substr(0, 100), "' is undefined"));
  }
  std::vector<Value> all(const std::vector<Expression>& expressions) {
    std::vector<Value> out;
    for (const Expression& e : expressions) out.push_back(evaluate(e));
    return out;
  }
  Value dict(const Expression& e) {
    auto out = std::make_shared<Dict>();
    for (std::size_t i = 0; i < e.children.size(); i += 2) {
      const Value key = evaluate(e.children[i]);
      out->set(key, evaluate(e.children[i + 1]));
    }
    return std::shared_ptr<const Dict>(std::move(out));
  }
  Value subscript(const Expression& e) {
    const Value of = evaluate(e.children[0]);
    const Expression& key = e.children[1];
    if (key.kind != Kind::slice) {
      const Value index = evaluate(key);
      return at(e, [&] { return item_or_attribute(of, index, budget_); });
    }
    std::array<Value, 3> bounds;
    for (std::size_t i = 0; i < 3; ++i) bounds[i] = evaluate(key.children[i]);
    return at(e, [&] { return slice(of, bounds, budget_); });
  }
  Value conditional(const Expression& e) {
    if (truth(evaluate(e.children[1]))) return evaluate(e.children[0]);
    if (e.children[2].is_written()) return evaluate(e.children[2]);
    return Value::undefined("the inline if-expression has no else, and its condition is false");
  }

  Value operation(const Expression& e) {
    if (e.kind == Kind::compare) return comparison(e);
    if (e.kind == Kind::concat) return at(e, [&, items = all(e.children)] { return concatenated(items); });
    const Value first = evaluate(e.children[0]);
    if (e.kind == Kind::unary)
      return at(e, [&]() -> Value { return e.text == "not" ? Value(!truth(first)) : signed_value(e.text, first); });
    const Value second = evaluate(e.children[1]);
    return at(e, [&] { return arithmetic(e.text, first, second, budget_); });
  }
  Value concatenated(const std::vector<Value>& items) { return joined(items, {}, budget_); }
  /// a < b < c compares a with b and b with c; what comes after a false one is not computed.
  Value comparison(const Expression& e) {
    Value left = evaluate(e.children[0]);
    for (std::size_t i = 0; i < e.words.size(); ++i) {
      Value right = evaluate(e.children[i + 1]);
      line_ = e.line;
      if (!compare(e.words[i], left, right, budget_)) return false;
      left = std::move(right);
    }
    return true;
  }

  const Dict& variables_;
  int calls_ = 0;
};

}  // namespace lamina::text::jinja::detail
