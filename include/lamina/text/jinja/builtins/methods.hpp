#pragma once
#include <lamina/text/jinja/builtins/arguments.hpp>
#include <lamina/text/jinja/builtins/text_functions.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Methods of strings, lists and dicts.
namespace lamina::text::jinja {
namespace detail {

/// One method of Python's, and what it is here: nullptr if it is not supported.
template <class Self>
struct Method {
  std::string_view name;
  Value (*call)(const Self&, const CallArguments&, Budget&);
};

/// Is each code point as `is` says, and at least one there?
template <class F>
Value all_of(const AuthoredText& text, F&& is) {
  const std::u32string points = code_points(text.bytes());
  return !points.empty() && std::all_of(points.begin(), points.end(), is);
}
/// Has the text cased letters, all of which f() leaves as they are?
inline bool has_case(const AuthoredText& text, char32_t (*f)(char32_t)) {
  const std::u32string points = code_points(text.bytes());
  return std::any_of(points.begin(), points.end(), is_cased_letter) &&
         std::all_of(points.begin(), points.end(), [&](char32_t c) { return !is_cased_letter(c) || f(c) == c; });
}

/// startswith and endswith: of one string, or of any of a tuple.
inline Value has_affix(const AuthoredText& text, const Value& affix, bool at_end) {
  const auto fits = [&](const Value& value) {
    const auto* part = value.text();
    if (!part)
      fail(at_end ? "endswith" : "startswith", " wants a string or a tuple of strings, got a ", value.type_name());
    return at_end ? text.bytes().ends_with(part->bytes()) : text.bytes().starts_with(part->bytes());
  };
  const auto* list = affix.sequence();
  if (!list || list->kind != ValueSequence::Kind::tuple) return fits(affix);
  return std::any_of(list->items.begin(), list->items.end(), fits);
}

inline Value strip_method(const char* name, Side side, const AuthoredText& self, const CallArguments& args,
                          Budget& budget) {
  return stripped(self, BoundArguments(name, args, {"chars"}).text(0), side, budget);
}
inline Value split_method(bool from_end, const AuthoredText& self, const CallArguments& args, Budget& budget) {
  const BoundArguments given(from_end ? "rsplit" : "split", args, {"sep", "maxsplit"});
  const auto separator = given.text(0);
  const std::int64_t most = given.integer(1, -1);
  if (separator && from_end) return make_list(split_from_end(self, *separator, most, budget));
  if (separator) return make_list(split(self, *separator, most, budget));
  if (from_end && most >= 0) fail("rsplit with maxsplit but without a separator is not supported");
  return make_list(split_at_space(self, most, budget));
}
inline Value find_method(bool from_end, const AuthoredText& self, const CallArguments& args, Budget& budget) {
  const BoundArguments given(from_end ? "rfind" : "find", args, {"sub"});
  budget.take(static_cast<std::int64_t>(1 + self.size() / 16));
  const std::string part = given.required_text(0).bytes();
  const std::size_t at = from_end ? self.bytes().rfind(part) : self.bytes().find(part);
  if (at == std::string::npos) return -1;
  return text_length(std::string_view(self.bytes()).substr(0, at));
}
inline Value count_method(const AuthoredText& self, const CallArguments& args, Budget& budget) {
  const auto part = BoundArguments("count", args, {"sub"}).required_text(0);
  if (part.empty()) return text_length(self.bytes()) + 1;
  return split(self, part, -1, budget).size() - 1;
}
inline Value replace_method(const AuthoredText& self, const CallArguments& args, Budget& budget) {
  const BoundArguments given("replace", args, {"old", "new", "count"});
  return replaced(self, given.required_text(0), given.required_text(1), given.integer(2, -1), budget);
}
inline Value join_method(const AuthoredText& self, const CallArguments& args, Budget& budget) {
  const auto items = items_of(BoundArguments("join", args, {"iterable"}).required(0), budget);
  for (const Value& item : items)
    if (!item.text()) fail("join wants strings, got a ", item.type_name());
  return joined(items, self, budget);
}
inline Value remove_affix(const char* name, const AuthoredText& self, const CallArguments& args, bool at_end) {
  const auto part = BoundArguments(name, args, {"affix"}).required_text(0);
  if (!truth(has_affix(self, part, at_end))) return self;
  return at_end ? self.slice(0, self.size() - part.size()) : self.slice(part.size(), std::string::npos);
}

using TextMethod = Method<AuthoredText>;
inline void no_arguments(const char* name, const CallArguments& args) { BoundArguments(name, args, {}); }
inline constexpr TextMethod text_methods[] = {
    {"split", [](auto& self, auto& args, auto& budget) { return split_method(false, self, args, budget); }},
    {"rsplit", [](auto& self, auto& args, auto& budget) { return split_method(true, self, args, budget); }},
    {"splitlines",
     [](auto& self, auto& args, auto& budget) {
       return make_list(split_lines(self, BoundArguments("splitlines", args, {"keepends"}).boolean(0, false), budget));
     }},
    {"strip",
     [](auto& self, auto& args, auto& budget) { return strip_method("strip", Side::both, self, args, budget); }},
    {"lstrip",
     [](auto& self, auto& args, auto& budget) { return strip_method("lstrip", Side::left, self, args, budget); }},
    {"rstrip",
     [](auto& self, auto& args, auto& budget) { return strip_method("rstrip", Side::right, self, args, budget); }},
    {"startswith",
     [](auto& self, auto& args, auto&) {
       return has_affix(self, BoundArguments("startswith", args, {"prefix"}).required(0), false);
     }},
    {"endswith", [](auto& self, auto& args,
                    auto&) { return has_affix(self, BoundArguments("endswith", args, {"suffix"}).required(0), true); }},
    {"removeprefix", [](auto& self, auto& args, auto&) { return remove_affix("removeprefix", self, args, false); }},
    {"removesuffix", [](auto& self, auto& args, auto&) { return remove_affix("removesuffix", self, args, true); }},
    {"replace", replace_method},
    {"join", join_method},
    {"count", count_method},
    {"find", [](auto& self, auto& args, auto& budget) { return find_method(false, self, args, budget); }},
    {"rfind", [](auto& self, auto& args, auto& budget) { return find_method(true, self, args, budget); }},
    {"upper",
     [](auto& self, auto& args, auto& budget) -> Value { return no_arguments("upper", args), upper(self, budget); }},
    {"lower",
     [](auto& self, auto& args, auto& budget) -> Value { return no_arguments("lower", args), lower(self, budget); }},
    {"capitalize",
     [](auto& self, auto& args, auto& budget) -> Value {
       return no_arguments("capitalize", args), capitalized(self, budget);
     }},
    {"title",
     [](auto& self, auto& args, auto& budget) -> Value {
       return no_arguments("title", args), titled(self, budget, [](char32_t c) { return !is_cased_letter(c); });
     }},
    {"isdigit",
     [](auto& self, auto& args, auto&) {
       return no_arguments("isdigit", args), all_of(self, [](char32_t c) { return c >= '0' && c <= '9'; });
     }},
    {"isalpha",
     [](auto& self, auto& args, auto&) {
       return no_arguments("isalpha", args), all_of(self, [](char32_t c) { return class_of(c) == CharClass::letter; });
     }},
    {"isalnum",
     [](auto& self, auto& args, auto&) {
       return no_arguments("isalnum", args), all_of(self, [](char32_t c) {
                return class_of(c) == CharClass::letter || class_of(c) == CharClass::number;
              });
     }},
    {"isspace",
     [](auto& self, auto& args, auto&) { return no_arguments("isspace", args), all_of(self, is_python_space); }},
    {"isupper",
     [](auto& self, auto& args, auto&) -> Value { return no_arguments("isupper", args), has_case(self, upper); }},
    {"islower",
     [](auto& self, auto& args, auto&) -> Value { return no_arguments("islower", args), has_case(self, lower); }},
    // Python's others: a template that calls one is refused by its name.
    {"format", nullptr},
    {"format_map", nullptr},
    {"encode", nullptr},
    {"casefold", nullptr},
    {"center", nullptr},
    {"ljust", nullptr},
    {"rjust", nullptr},
    {"zfill", nullptr},
    {"index", nullptr},
    {"rindex", nullptr},
    {"partition", nullptr},
    {"rpartition", nullptr},
    {"expandtabs", nullptr},
    {"swapcase", nullptr},
    {"translate", nullptr},
    {"isnumeric", nullptr},
    {"isdecimal", nullptr},
    {"isascii", nullptr},
    {"isidentifier", nullptr},
    {"isprintable", nullptr},
    {"istitle", nullptr}};

inline Value dict_get(const Dict& self, const CallArguments& args, Budget&) {
  const BoundArguments given("get", args, {"key", "default"});
  const Value* found = self.find(given.required(0));
  return found ? *found : given[1].value_or(None{});
}
/// items(), keys() or values().
template <class F>
Value view(const char* name, const Dict& self, const CallArguments& args, Budget& budget, F&& item) {
  BoundArguments(name, args, {});
  std::vector<Value> out;
  for (const auto& entry : self.entries) budget.take(), out.push_back(item(entry));
  return make_sequence(ValueSequence::Kind::view, std::move(out));
}
inline constexpr Method<Dict> dict_methods[] = {
    {"get", dict_get},
    {"items",
     [](auto& self, auto& args, auto& budget) {
       return view("items", self, args, budget, [](auto& entry) { return make_tuple({entry.first, entry.second}); });
     }},
    {"keys", [](auto& self, auto& args,
                auto& budget) { return view("keys", self, args, budget, [](auto& entry) { return entry.first; }); }},
    {"values",
     [](auto& self, auto& args, auto& budget) {
       return view("values", self, args, budget, [](auto& entry) { return entry.second; });
     }},
    {"copy", nullptr},
    {"pop", nullptr},
    {"popitem", nullptr},
    {"clear", nullptr},
    {"update", nullptr},
    {"setdefault", nullptr},
    {"fromkeys", nullptr}};

inline Value list_count(const ValueSequence& self, const CallArguments& args, Budget& budget) {
  const Value wanted = BoundArguments("count", args, {"value"}).required(0);
  return static_cast<std::int64_t>(std::count_if(self.items.begin(), self.items.end(),
                                                 [&](const Value& item) { return equal(item, wanted, budget); }));
}
inline Value list_index(const ValueSequence& self, const CallArguments& args, Budget& budget) {
  const Value wanted = BoundArguments("index", args, {"value"}).required(0);
  for (std::size_t i = 0; i < self.items.size(); ++i)
    if (equal(self.items[i], wanted, budget)) return i;
  fail("index: the value is not in the list");
}
inline constexpr Method<ValueSequence> list_methods[] = {
    {"index", list_index}, {"count", list_count}, {"append", nullptr}, {"extend", nullptr},
    {"insert", nullptr},   {"remove", nullptr},   {"pop", nullptr},    {"clear", nullptr},
    {"sort", nullptr},     {"reverse", nullptr},  {"copy", nullptr}};

template <class Self, std::size_t N>
const Method<Self>* find_method_of(const Method<Self> (&methods)[N], std::string_view name) {
  const auto found =
      std::find_if(std::begin(methods), std::end(methods), [&](const auto& m) { return m.name == name; });
  return found == std::end(methods) ? nullptr : found;
}
template <class Self, std::size_t N>
std::optional<Value> call_method(const Method<Self> (&methods)[N], const Self& self, std::string_view name,
                                 const CallArguments& args, Budget& budget) {
  const auto* method = find_method_of(methods, name);
  if (!method) return {};
  return method->call(self, args, budget);
}

}  // namespace detail

/// The method of that name, to be called; nothing if Python's type has none. Fails for one that is not supported.
inline std::optional<Value> method_of(const Value& value, std::string_view name) {
  const auto found = [&](const auto* method) -> std::optional<Value> {
    if (!method) return {};
    if (!method->call) fail("the method ", name, " of a ", value.type_name(), " is not supported");
    return std::make_shared<const Callable>(Callable{std::string(name), value});
  };
  if (value.text()) return found(detail::find_method_of(detail::text_methods, name));
  if (value.dict()) return found(detail::find_method_of(detail::dict_methods, name));
  const auto* list = value.sequence();
  return list && list->has_index() ? found(detail::find_method_of(detail::list_methods, name)) : std::nullopt;
}

/// Calls what method_of returned.
inline Value call_method(const Value& self, std::string_view name, const CallArguments& args, Budget& budget) {
  if (const auto* text = self.text()) return *detail::call_method(detail::text_methods, *text, name, args, budget);
  if (const auto* entries = self.dict())
    return *detail::call_method(detail::dict_methods, *entries, name, args, budget);
  return *detail::call_method(detail::list_methods, *self.sequence(), name, args, budget);
}

}  // namespace lamina::text::jinja
