#pragma once
#include <lamina/text/jinja/budget.hpp>
#include <lamina/text/jinja/builtins/arguments.hpp>

#include <algorithm>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja::detail {

/// The functions that a template finds in its environment, and those of `loop`.
/// source  jinja2 3.1, defaults.py and the sandbox's range; transformers, _cached_compile_jinja_template
class Functions {
 public:
  /// now: the time of strftime_now.
  explicit Functions(std::time_t now) : now_(now) {}
  Functions(Functions&&) = default;
  /// Namespaces may hold each other in a circle.
  ~Functions() {
    for (const auto& names : namespaces_) names->attributes = {};
  }

  static bool has(std::string_view name) {
    static constexpr std::string_view known[] = {"range",        "dict",   "namespace", "raise_exception",
                                                 "strftime_now", "cycler", "joiner",    "lipsum"};
    return std::find(std::begin(known), std::end(known), name) != std::end(known);
  }

  Value call(std::string_view name, const CallArguments& args, Budget& budget) {
    if (name == "range") return range(args, budget);
    if (name == "dict") return dict(args, budget);
    if (name == "namespace") return make_namespace(args, budget);
    if (name == "strftime_now") return formatted_time(args, budget);
    if (name != "raise_exception") fail("the function ", name, " is not supported");
    throw RaisedByTemplate(to_text(BoundArguments(name, args, {"message"}).required(0), budget).bytes());
  }

  /// loop.cycle() and loop.changed()
  static Value call_loop(Loop& loop, std::string_view name, const CallArguments& args, Budget& budget) {
    if (!args.named.empty()) fail("loop.", name, " takes no named arguments");
    if (name == "cycle") {
      if (args.positional.empty()) fail("loop.cycle wants values to go through");
      return args.positional[loop.index0 % args.positional.size()];
    }
    Value now = make_tuple(args.positional);
    const bool changed = !loop.last_changed || !equal(*loop.last_changed, now, budget);
    loop.last_changed = std::move(now);
    return changed;
  }

 private:
  static Value range(const CallArguments& args, Budget& budget) {
    const std::size_t count = args.positional.size();
    if (!args.named.empty() || count < 1 || count > 3) fail("range takes 1 to 3 integers");
    std::int64_t numbers[3] = {0, 0, 1};  // start, stop, step
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = args.positional[i].integer();
      if (!value) fail("range wants integers, got a ", args.positional[i].type_name());
      numbers[count == 1 ? 1 : i] = *value;
    }
    const auto [start, stop, step] = numbers;
    if (step == 0) fail("the step of range is 0");
    const bool empty = step > 0 ? start >= stop : start <= stop;
    const auto distance =
        static_cast<std::uint64_t>(step > 0 ? stop : start) - static_cast<std::uint64_t>(step > 0 ? start : stop);
    const auto stride = step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
    const std::uint64_t items = empty ? 0 : (distance - 1) / stride + 1;
    constexpr std::uint64_t most = 100'000;  // MAX_RANGE of the sandbox
    if (items > most) fail("a range of ", items, " steps, wanted at most ", most);
    budget.take(static_cast<std::int64_t>(items));
    std::vector<Value> out;
    for (std::uint64_t i = 0; i < items; ++i)
      out.push_back(
          static_cast<std::int64_t>(static_cast<std::uint64_t>(start) + i * static_cast<std::uint64_t>(step)));
    return make_sequence(ValueSequence::Kind::range, std::move(out));
  }

  /// Of another dict or of pairs, then of the named arguments.
  static void fill(Dict& out, std::string_view function, const CallArguments& args, Budget& budget) {
    if (args.positional.size() > 1) fail(function, " takes one dict or list of pairs");
    if (!args.positional.empty()) {
      const Value& source = args.positional[0];
      if (const auto* other = source.dict()) {
        for (const auto& [key, value] : other->entries) budget.take(), out.set(key, value);
      } else {
        for (const Value& pair : items_of(source, budget)) {
          const auto parts = items_of(pair, budget);
          if (parts.size() != 2) fail(function, " wants pairs, got ", parts.size(), " items");
          out.set(parts[0], parts[1]);
        }
      }
    }
    for (const auto& [name, value] : args.named) out.set(AuthoredText(name, false), value);
  }
  static Value dict(const CallArguments& args, Budget& budget) {
    auto out = std::make_shared<Dict>();
    fill(*out, "dict", args, budget);
    return std::shared_ptr<const Dict>(std::move(out));
  }
  Value make_namespace(const CallArguments& args, Budget& budget) {
    auto out = std::make_shared<Namespace>();
    fill(out->attributes, "namespace", args, budget);
    for (const auto& [key, value] : out->attributes.entries)
      if (key.text() && key.text()->bytes().starts_with('_')) fail("names of a namespace cannot begin with _");
    namespaces_.push_back(out);
    return out;
  }

  Value formatted_time(const CallArguments& args, Budget& budget) const {
    const std::string format = BoundArguments("strftime_now", args, {"format"}).required_text(0).bytes();
    budget.take_text(format.size());
    std::tm parts{};
    localtime_r(&now_, &parts);
    std::string out(1000, '\0');
    // A sign more, because an empty result and one that does not fit look the same.
    out.resize(std::strftime(out.data(), out.size(), (format + "|").c_str(), &parts));
    if (out.empty()) fail("strftime_now: the format makes more than 1000 bytes");
    out.pop_back();
    return Value::words(std::move(out));
  }

  std::time_t now_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

}  // namespace lamina::text::jinja::detail
