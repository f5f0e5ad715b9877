#pragma once
#include <lamina/text/jinja/builtins/methods.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// value.name and value[key], as Jinja looks them up.
namespace lamina::text::jinja {
namespace detail {

inline Value bound_to(const Value& self, std::string_view name) {
  return std::make_shared<const Callable>(Callable{std::string(name), self});
}

/// An attribute of `loop`.
/// source  jinja2 3.1, LoopContext
inline std::optional<Value> loop_attribute(const Value& self, std::string_view name) {
  const Loop& loop = *self.loop();
  const std::size_t count = loop.items.size();
  if (name == "index") return loop.index0 + 1;
  if (name == "index0") return loop.index0;
  if (name == "revindex") return count - loop.index0;
  if (name == "revindex0") return count - loop.index0 - 1;
  if (name == "first") return loop.index0 == 0;
  if (name == "last") return loop.index0 + 1 == count;
  if (name == "length") return count;
  if (name == "depth" || name == "depth0") return name == "depth" ? 1 : 0;  // of recursive loops only
  if (name == "previtem")
    return loop.index0 > 0 ? loop.items[loop.index0 - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return loop.index0 + 1 < count ? loop.items[loop.index0 + 1] : Value::undefined("there is no next item");
  if (name == "cycle" || name == "changed") return bound_to(self, name);
  return {};
}

inline Value missing(const Value& value, std::string_view name) {
  return Value::undefined(cat("a ", value.type_name(), " has no \"", name.substr(0, 100), "\""));
}

}  // namespace detail

/// value.name: a method or an attribute, else the item of that key; undefined if there is none.
inline Value attribute(const Value& value, std::string_view name) {
  if (value.is_undefined()) fail_undefined(value);
  if (name.starts_with("__")) return Value::undefined(cat("the attribute ", name.substr(0, 100), " is not safe"));
  if (const auto names = value.names()) {
    const Value* found = names->attributes.find(name);
    return found ? *found : detail::missing(value, name);
  }
  if (value.loop()) return detail::loop_attribute(value, name).value_or(detail::missing(value, name));
  if (auto method = method_of(value, name)) return *std::move(method);
  if (const auto* entries = value.dict())
    if (const Value* found = entries->find(name)) return *found;
  return detail::missing(value, name);
}

/// value[key]: the item of that key, else the attribute; undefined if there is none.
inline Value item_or_attribute(const Value& value, const Value& key, Budget& budget) {
  if (auto found = item(value, key, budget)) return *std::move(found);
  const auto* name = key.text();
  if (!name) return Value::undefined(cat("a ", value.type_name(), " has no such item"));
  if (!value.dict()) return attribute(value, name->bytes());
  return method_of(value, name->bytes()).value_or(detail::missing(value, name->bytes()));
}

/// The attribute that filters take: names and indices with dots between them, or an index.
inline Value attribute_path(Value value, const Value& path, const std::optional<Value>& otherwise, Budget& budget) {
  std::vector<Value> keys;
  if (const auto* text = path.text()) {
    for (const Value& part : split(*text, AuthoredText(".", false), -1, budget)) {
      const std::string& word = part.text()->bytes();
      const bool digits = !word.empty() && word.size() < 10 && word.find_first_not_of("0123456789") == word.npos;
      keys.push_back(digits ? Value(std::stoi(word)) : part);
    }
  } else {
    keys.push_back(path);
  }
  for (const Value& key : keys) {
    value = item_or_attribute(value, key, budget);
    if (value.is_undefined() && otherwise) value = *otherwise;
  }
  return value;
}

}  // namespace lamina::text::jinja
