#pragma once
#include <lamina/text/jinja/builtins/arguments.hpp>
#include <lamina/text/jinja/builtins/tests.hpp>
#include <lamina/text/jinja/builtins/text_filters.hpp>
#include <lamina/text/jinja/values/lookup.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja {
Value apply_filter(std::string_view name, const Value& value, const CallArguments& arguments, Budget& budget);
}

/// Filters of lists and dicts.
/// source  jinja2 3.1, filters.py
namespace lamina::text::jinja::detail {

inline Value default_value(const Value& value, const CallArguments& args, Budget&) {
  const BoundArguments given("default", args, {"default_value", "boolean"});
  const bool used = value.is_undefined() || (given.boolean(1, false) && !truth(value));
  return used ? given[0].value_or(AuthoredText()) : value;
}
inline Value count_items(const Value& value, const CallArguments& args, Budget&) {
  BoundArguments("length", args, {});
  const auto count = length(value);
  if (!count) fail("a ", value.type_name(), " has no length");
  return *count;
}
inline Value first(const Value& value, const CallArguments& args, Budget& budget) {
  BoundArguments("first", args, {});
  const auto* list = value.sequence();
  if (list && !list->has_length() && list->next < list->items.size()) return list->items[list->next++];
  const auto items = items_of(value, budget);
  return items.empty() ? Value::undefined("there is no first item, the sequence was empty") : items.front();
}
inline Value last(const Value& value, const CallArguments& args, Budget& budget) {
  BoundArguments("last", args, {});
  if (const auto* list = value.sequence(); list && !list->has_length()) fail("a generator has no last item");
  const auto items = items_of(value, budget);
  return items.empty() ? Value::undefined("there is no last item, the sequence was empty") : items.back();
}
inline Value join(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("join", args, {"d", "attribute"});
  auto items = items_of(value, budget);
  if (given.has(1) && !given[1]->is_none())
    for (Value& item : items) item = attribute_path(item, *given[1], {}, budget);
  return joined(items, given.has(0) ? to_text(*given[0], budget) : AuthoredText(), budget);
}
inline Value reverse(const Value& value, const CallArguments& args, Budget& budget) {
  BoundArguments("reverse", args, {});
  auto items = items_of(value, budget);
  std::reverse(items.begin(), items.end());
  if (value.text()) return joined(items, {}, budget);
  const auto* list = value.sequence();
  return list && !list->has_length() ? make_list(std::move(items)) : make_generator(std::move(items));
}
inline Value items(const Value& value, const CallArguments& args, Budget& budget) {
  BoundArguments("items", args, {});
  if (value.is_undefined()) return make_generator({});
  const auto* entries = value.dict();
  if (!entries) fail("items wants a dict, got a ", value.type_name());
  std::vector<Value> out;
  for (const auto& [key, item] : entries->entries) budget.take(), out.push_back(make_tuple({key, item}));
  return make_generator(std::move(out));
}

/// What sort, unique, min and max compare: the attribute, without case unless asked.
struct SortKey {
  bool with_case;
  std::vector<Value> attributes;

  SortKey(bool with_case, const std::optional<Value>& attribute, Budget& budget) : with_case(with_case) {
    if (!attribute || attribute->is_none()) return;
    if (const auto* text = attribute->text())
      attributes = split(*text, AuthoredText(",", false), -1, budget);
    else
      attributes.push_back(*attribute);
  }
  Value of(const Value& item, Budget& budget) const {
    if (attributes.empty()) return folded(item, budget);
    std::vector<Value> out;
    for (const Value& attribute : attributes)
      out.push_back(folded(attribute_path(item, attribute, {}, budget), budget));
    return out.size() == 1 ? out[0] : make_list(std::move(out));
  }
  Value folded(Value value, Budget& budget) const {
    return value.text() && !with_case ? Value(lower(*value.text(), budget)) : value;
  }
};

inline std::vector<Value> sorted(std::vector<Value> items, const SortKey& key, bool descending, Budget& budget) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items) keyed.emplace_back(key.of(item, budget), std::move(item));
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return descending ? less(b.first, a.first, budget) : less(a.first, b.first, budget);
  });
  for (std::size_t i = 0; i < keyed.size(); ++i) items[i] = std::move(keyed[i].second);
  return items;
}
inline Value sort(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("sort", args, {"reverse", "case_sensitive", "attribute"});
  const SortKey key(given.boolean(1, false), given[2], budget);
  return make_list(sorted(items_of(value, budget), key, given.boolean(0, false), budget));
}
inline Value dictsort(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("dictsort", args, {"case_sensitive", "by", "reverse"});
  const auto by = given.text(1).value_or(AuthoredText("key", false)).bytes();
  if (by != "key" && by != "value") fail("dictsort: by is key or value, got ", by);
  if (!value.dict()) fail("dictsort wants a dict, got a ", value.type_name());
  const SortKey key(given.boolean(0, false), Value(by == "key" ? 0 : 1), budget);
  return make_list(sorted(items_of(items(value, {}, budget), budget), key, given.boolean(2, false), budget));
}
inline Value unique(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("unique", args, {"case_sensitive", "attribute"});
  const SortKey key(given.boolean(0, false), given[1], budget);
  Dict seen;
  std::vector<Value> out;
  for (const Value& item : items_of(value, budget)) {
    const Value name = key.of(item, budget);
    if (seen.find(name)) continue;
    seen.set(name, true);
    out.push_back(item);
  }
  return make_generator(std::move(out));
}
inline Value extreme(bool greatest, const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given(greatest ? "max" : "min", args, {"case_sensitive", "attribute"});
  const SortKey key(given.boolean(0, false), given[1], budget);
  const auto items = items_of(value, budget);
  if (items.empty()) return Value::undefined("there is no item, the sequence was empty");
  const auto before = [&](const Value& a, const Value& b) {
    return less(key.of(a, budget), key.of(b, budget), budget);
  };
  return greatest ? *std::max_element(items.begin(), items.end(), before)
                  : *std::min_element(items.begin(), items.end(), before);
}
inline Value sum(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("sum", args, {"attribute", "start"});
  Value out = given[1].value_or(0);
  for (const Value& item : items_of(value, budget)) {
    const bool of_attribute = given.has(0) && !given[0]->is_none();
    out = arithmetic("+", out, of_attribute ? attribute_path(item, *given[0], {}, budget) : item, budget);
  }
  return out;
}

inline Value map(const Value& value, const CallArguments& args, Budget& budget) {
  auto items = items_of(value, budget);
  if (args.positional.empty()) {
    const BoundArguments given("map", args, {"attribute", "default"});
    for (Value& item : items) item = attribute_path(item, given.required(0), given[1], budget);
    return make_generator(std::move(items));
  }
  const auto* name = args.positional[0].text();
  if (!name) fail("map wants the name of a filter, or attribute=");
  const CallArguments rest{{args.positional.begin() + 1, args.positional.end()}, args.named};
  for (Value& item : items) item = apply_filter(name->bytes(), item, rest, budget);
  return make_generator(std::move(items));
}

/// select, reject, selectattr, rejectattr: items that pass a test, or are true.
inline Value selected(bool wanted, bool by_attribute, const Value& value, const CallArguments& args, Budget& budget) {
  std::size_t at = by_attribute ? 1 : 0;
  if (by_attribute && args.positional.empty()) fail("selectattr and rejectattr want the name of an attribute");
  const auto* test = at < args.positional.size() ? args.positional[at].text() : nullptr;
  if (at < args.positional.size() && !test) fail("select and reject want the name of a test");
  CallArguments rest{{}, args.named};
  if (test)
    rest.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(at) + 1, args.positional.end());
  std::vector<Value> out;
  for (const Value& item : items_of(value, budget)) {
    const Value looked_at = by_attribute ? attribute_path(item, args.positional[0], {}, budget) : item;
    if ((test ? apply_test(test->bytes(), looked_at, rest, budget) : truth(looked_at)) == wanted) out.push_back(item);
  }
  return make_generator(std::move(out));
}
template <bool Wanted, bool ByAttribute>
Value select(const Value& value, const CallArguments& args, Budget& budget) {
  return selected(Wanted, ByAttribute, value, args, budget);
}
template <bool Greatest>
Value extreme_of(const Value& value, const CallArguments& args, Budget& budget) {
  return extreme(Greatest, value, args, budget);
}

inline constexpr Filter list_filters[] = {
    {"default", default_value},
    {"d", default_value},
    {"length", count_items},
    {"count", count_items},
    {"first", first},
    {"last", last},
    {"join", join},
    {"reverse", reverse},
    {"items", items},
    {"sort", sort},
    {"dictsort", dictsort},
    {"unique", unique},
    {"min", extreme_of<false>},
    {"max", extreme_of<true>},
    {"sum", sum},
    {"map", map},
    {"select", select<true, false>},
    {"reject", select<false, false>},
    {"selectattr", select<true, true>},
    {"rejectattr", select<false, true>},
    {"list", [](auto& value, auto& args,
                auto& budget) { return BoundArguments("list", args, {}), make_list(items_of(value, budget)); }},
    {"attr", [](auto& value, auto& args, auto&) {
       const auto name = BoundArguments("attr", args, {"name"}).required_text(0);
       // Unlike value.name it finds no items.
       if (value.dict()) return method_of(value, name.bytes()).value_or(missing(value, name.bytes()));
       return attribute(value, name.bytes());
     }}};

}  // namespace lamina::text::jinja::detail
