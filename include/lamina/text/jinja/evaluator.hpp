#pragma once
#include <lamina/text/jinja/expression_evaluator.hpp>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace lamina::text::jinja::detail {

/// Runs a template's statements.
class Evaluator : ExpressionEvaluator {
 public:
  Evaluator(const Dict& variables, Budget& budget, std::time_t now)
      : ExpressionEvaluator(variables, budget, Functions(now)) {}

  /// The text that the template writes. TemplateError with the line, or RaisedByTemplate; throws Cancelled.
  AuthoredText run(const Block& block) {
    try {
      execute(block);
    } catch (const RaisedByTemplate&) {
      throw;
    } catch (const Error& e) {
      fail_at(line_, e.what());
    }
    return std::move(out_);
  }

 private:
  using Kind = Statement::Kind;
  /// How a block ended: at its end, by break, by continue.
  enum class End { reached, leave, next };

  End execute(const Block& block) {
    for (const Statement& statement : block)
      if (const End end = execute(statement); end != End::reached) return end;
    return End::reached;
  }

  End execute(const Statement& s) {
    line_ = s.line;
    budget_.take();
    switch (s.kind) {
      case Kind::data:
        write(AuthoredText(s.text, false));
        break;
      case Kind::output:
        for (const Expression& e : s.expressions) write(to_text(evaluate(e), budget_));
        break;
      case Kind::conditional:
        return conditional(s);
      case Kind::loop:
        return loop(s);
      case Kind::set:
        assign(s.targets[0], evaluate(s.expressions[0]));
        break;
      case Kind::set_block:
      case Kind::filter:
        return captured(s);
      case Kind::with:
        return with(s);
      case Kind::macro:
        scope_->set(s.text, make_macro(s, s.text));
        break;
      case Kind::call:
        call_block(s);
        break;
      case Kind::generation:
        return in_scope([&] { return execute(s.blocks[0]); });
      case Kind::leave:
        return End::leave;
      case Kind::next:
        return End::next;
    }
    return End::reached;
  }

  void write(const AuthoredText& text) {
    budget_.take_text(text.size());
    out_.append(text);
    budget_.check_length(out_.size());
  }

  template <class F>
  std::invoke_result_t<F&> in_scope(F&& f) {
    const auto outer = scope_;
    scope_ = std::make_shared<Scope>(outer);
    auto result = f();
    scope_ = outer;
    return result;
  }

  /// The text that f() writes, instead of writing it.
  template <class F>
  AuthoredText text_of(F&& f) {
    AuthoredText outer = std::exchange(out_, {});
    f();
    return std::exchange(out_, std::move(outer));
  }

  End conditional(const Statement& s) {
    for (std::size_t i = 0; i < s.expressions.size(); ++i)
      if (truth(evaluate(s.expressions[i]))) return execute(s.blocks[i]);
    return s.blocks.size() > s.expressions.size() ? execute(s.blocks.back()) : End::reached;
  }

  End loop(const Statement& s) {
    auto state = std::make_shared<Loop>();
    state->items = items_of(evaluate(s.expressions[0]), budget_);
    if (s.expressions[1].is_written()) keep_if(state->items, s);
    End end = End::reached;
    bool finished_one = false;
    for (; state->index0 < state->items.size() && end != End::leave; ++state->index0) {
      end = in_scope([&] {
        scope_->set("loop", state);
        assign(s.targets[0], state->items[state->index0]);
        return execute(s.blocks[0]);
      });
      finished_one = finished_one || end == End::reached;
    }
    // In Jinja, an iteration that break or continue ends does not count.
    if (!finished_one && s.blocks.size() > 1) return in_scope([&] { return execute(s.blocks[1]); });
    return End::reached;
  }
  void keep_if(std::vector<Value>& items, const Statement& s) {
    std::erase_if(items, [&](const Value& item) {
      return !in_scope([&] {
        assign(s.targets[0], item);
        return truth(evaluate(s.expressions[1]));
      });
    });
  }

  void assign(const Target& target, const Value& value) {
    if (!target.attribute.empty()) {
      const Value* named = scope_->find(target.names[0]);
      const auto names = named ? named->names() : nullptr;
      if (!names) fail(target.names[0], ".", target.attribute, " cannot be set: only namespaces can be changed");
      return names->attributes.set(AuthoredText(target.attribute, false), value);
    }
    if (!target.unpack) return scope_->set(target.names[0], value);
    const auto items = items_of(value, budget_);
    if (items.size() != target.names.size())
      fail(items.size(), " items cannot be given to ", target.names.size(), " names");
    for (std::size_t i = 0; i < items.size(); ++i) scope_->set(target.names[i], items[i]);
  }

  /// {% set x %} and {% filter %}
  End captured(const Statement& s) {
    End end = End::reached;
    Value text = text_of([&] { end = in_scope([&] { return execute(s.blocks[0]); }); });
    if (s.expressions[0].is_written()) text = through_filters(s.expressions[0], text);
    if (s.kind == Kind::filter)
      write(to_text(text, budget_));
    else
      assign(s.targets[0], text);
    return end;
  }

  End with(const Statement& s) {
    std::vector<Value> values;
    for (const Expression& e : s.expressions) values.push_back(evaluate(e));
    return in_scope([&] {
      for (std::size_t i = 0; i < values.size(); ++i) assign(s.targets[i], values[i]);
      return execute(s.blocks[0]);
    });
  }

  Value make_macro(const Statement& s, std::string name) {
    if (!scope_->kept) kept_.push_back(scope_);
    scope_->kept = true;
    return std::make_shared<const Callable>(Callable{std::move(name), {}, &s, scope_.get()});
  }
  void call_block(const Statement& s) {
    const Expression& e = s.expressions[0];
    const Value callee = evaluate(e.children[0]);
    CallArguments given = arguments(e);
    given.named.emplace_back("caller", make_macro(s, "caller"));
    write(to_text(call_value(e, callee, given), budget_));
  }

  Value call_macro(const Callable& macro, const CallArguments& given) override {
    const Call call(*this);
    const Statement& s = *macro.macro;
    const auto outer = scope_;
    const int line = line_;
    scope_ = std::make_shared<Scope>(macro.scope->shared_from_this());
    bind(macro.name, s, given);
    AuthoredText text = text_of([&] { execute(s.blocks[0]); });
    scope_ = outer;
    line_ = line;
    return text;
  }
  /// Gives the parameters of a macro their values; a default may use the parameters before it.
  void bind(const std::string& name, const Statement& s, const CallArguments& given) {
    if (given.positional.size() > s.parameters.size())
      fail("macro ", name, " takes at most ", s.parameters.size(), " arguments, got ", given.positional.size());
    for (const auto& [parameter, value] : given.named) {
      const auto found = std::find_if(s.parameters.begin(), s.parameters.end(),
                                      [&, &parameter = parameter](const auto& p) { return p.first == parameter; });
      const auto at = static_cast<std::size_t>(found - s.parameters.begin());
      if (found == s.parameters.end() && parameter != "caller") fail("macro ", name, " has no parameter ", parameter);
      if (at < given.positional.size()) fail("macro ", name, " got two values for ", parameter);
      scope_->set(parameter, value);
    }
    for (std::size_t i = 0; i < s.parameters.size(); ++i) {
      const auto& [parameter, otherwise] = s.parameters[i];
      const auto is_it = [&, &parameter = parameter](const auto& named) { return named.first == parameter; };
      if (i < given.positional.size())
        scope_->set(parameter, given.positional[i]);
      else if (std::none_of(given.named.begin(), given.named.end(), is_it))
        scope_->set(parameter, otherwise.is_written()
                                   ? evaluate(otherwise)
                                   : Value::undefined(cat("parameter '", parameter, "' was not provided")));
    }
  }

  AuthoredText out_;
  std::vector<std::shared_ptr<Scope>> kept_;  // scopes of macros, which point to them
};

}  // namespace lamina::text::jinja::detail
