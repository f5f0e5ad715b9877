#pragma once
#include <lamina/core/error.hpp>
#include <lamina/text/jinja/values/authored_text.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

/// The values of a chat template: Python's, as far as JSON and Jinja make them. All but namespaces and loops are
/// constant, as in transformers' ImmutableSandboxedEnvironment.
namespace lamina::text::jinja {

struct ValueSequence;
struct Dict;
struct Namespace;
struct Loop;
struct Callable;

struct None {};
/// A name, key or attribute that does not exist. `what` describes it: "'tools' is undefined".
struct Undefined {
  std::string what;
};
/// An integer of JSON above 2^63 - 1. It can be printed and compared; arithmetic refuses it.
struct LargeInteger {
  std::uint64_t value;
};

class Value {
 public:
  Value() : data_(std::make_shared<const Undefined>()) {}
  Value(None none) : data_(none) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(int value) : data_(std::int64_t{value}) {}
  Value(std::size_t value) : data_(static_cast<std::int64_t>(value)) {}
  Value(double value) : data_(value) {}
  Value(LargeInteger value) : data_(value) {}
  Value(AuthoredText text) : data_(std::make_shared<const AuthoredText>(std::move(text))) {}
  Value(const char* text) = delete;  // who wrote it?
  Value(std::shared_ptr<const ValueSequence> list) : data_(std::move(list)) {}
  Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  Value(std::shared_ptr<Namespace> names) : data_(std::move(names)) {}
  Value(std::shared_ptr<Loop> loop) : data_(std::move(loop)) {}
  Value(std::shared_ptr<const Callable> callable) : data_(std::move(callable)) {}

  /// A string that the template wrote.
  static Value words(std::string text) { return AuthoredText(std::move(text), false); }
  static Value undefined(std::string what) {
    Value out;
    out.data_ = std::make_shared<const Undefined>(Undefined{std::move(what)});
    return out;
  }

  /// The value as one of its types, or nullptr.
  template <class T>
  const T* as() const {
    if constexpr (std::is_same_v<T, None> || std::is_same_v<T, bool> || std::is_same_v<T, std::int64_t> ||
                  std::is_same_v<T, double> || std::is_same_v<T, LargeInteger>) {
      return std::get_if<T>(&data_);
    } else {
      const auto* shared = std::get_if<std::shared_ptr<const T>>(&data_);
      return shared ? shared->get() : nullptr;
    }
  }
  const AuthoredText* text() const { return as<AuthoredText>(); }
  const ValueSequence* sequence() const { return as<ValueSequence>(); }
  const Dict* dict() const { return as<Dict>(); }
  const Callable* callable() const { return as<Callable>(); }
  std::shared_ptr<Namespace> names() const { return shared<Namespace>(); }
  std::shared_ptr<Loop> loop() const { return shared<Loop>(); }
  bool is_undefined() const { return as<Undefined>() != nullptr; }
  bool is_none() const { return as<None>() != nullptr; }

  /// A whole number; bool is one in Python.
  std::optional<std::int64_t> integer() const {
    if (const auto* value = as<bool>()) return *value;
    const auto* value = as<std::int64_t>();
    return value ? std::optional(*value) : std::nullopt;
  }
  std::optional<double> number() const {
    if (const auto value = integer()) return static_cast<double>(*value);
    if (const auto* value = as<LargeInteger>()) return static_cast<double>(value->value);
    const auto* value = as<double>();
    return value ? std::optional(*value) : std::nullopt;
  }

  /// Levels of lists and dicts: 0 for all else.
  int depth() const;
  /// Python's name of the type, for messages.
  const char* type_name() const;
  /// Is it one object (`sameas`)? Numbers and texts are compared by value.
  bool same_as(const Value& other) const;

 private:
  template <class T>
  std::shared_ptr<T> shared() const {
    const auto* found = std::get_if<std::shared_ptr<T>>(&data_);
    return found ? *found : nullptr;
  }

  std::variant<std::shared_ptr<const Undefined>, None, bool, std::int64_t, double, LargeInteger,
               std::shared_ptr<const AuthoredText>, std::shared_ptr<const ValueSequence>, std::shared_ptr<const Dict>,
               std::shared_ptr<Namespace>, std::shared_ptr<Loop>, std::shared_ptr<const Callable>>
      data_;
};

/// Lists and dicts may hold each other this deep: printing, comparing and freeing them are recursive.
inline constexpr int max_value_depth = 200;

inline int depth_above(int depth) {
  if (depth >= max_value_depth) fail("lists and dicts are nested more than ", max_value_depth, " levels deep");
  return depth + 1;
}

/// What Python iterates over. A generator (the result of filters such as map) can be read once, has no length, and is
/// true even if it is empty; a view (dict.items()) has a length but no index.
struct ValueSequence {
  enum class Kind { list, tuple, generator, view, range } kind;
  std::vector<Value> items;
  int depth = 1;
  mutable std::size_t next = 0;  ///< of a generator: the first item that was not read yet

  ValueSequence(Kind kind, std::vector<Value> items) : kind(kind), items(std::move(items)) {
    int below = 0;
    for (const Value& item : this->items) below = std::max(below, item.depth());
    depth = depth_above(below);
  }
  bool has_length() const { return kind != Kind::generator; }
  bool has_index() const { return kind == Kind::list || kind == Kind::tuple || kind == Kind::range; }
};

inline Value make_sequence(ValueSequence::Kind kind, std::vector<Value> items) {
  return std::make_shared<const ValueSequence>(kind, std::move(items));
}
inline Value make_list(std::vector<Value> items) { return make_sequence(ValueSequence::Kind::list, std::move(items)); }
inline Value make_tuple(std::vector<Value> items) {
  return make_sequence(ValueSequence::Kind::tuple, std::move(items));
}
inline Value make_generator(std::vector<Value> items) {
  return make_sequence(ValueSequence::Kind::generator, std::move(items));
}

/// Keys in their order. Only texts, numbers, bools and None can be keys.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  int depth = 1;

  /// A key that comes again replaces the value and keeps its place.
  void set(const Value& key, Value value) {
    depth = std::max(depth, depth_above(value.depth()));
    const auto [it, fresh] = index_.emplace(spelt(key), entries.size());
    if (fresh)
      entries.emplace_back(key, std::move(value));
    else
      entries[it->second].second = std::move(value);
  }
  const Value* find(const Value& key) const {
    const auto it = index_.find(spelt(key));
    return it == index_.end() ? nullptr : &entries[it->second].second;
  }
  const Value* find(std::string_view key) const {
    const auto it = index_.find("s" + std::string(key));
    return it == index_.end() ? nullptr : &entries[it->second].second;
  }

 private:
  /// Equal keys have one spelling: 1, 1.0 and true are one key.
  static std::string spelt(const Value& key) {
    if (const auto* text = key.text()) return "s" + text->bytes();
    if (const auto integer = key.integer()) return "n" + std::to_string(*integer);
    if (const auto* number = key.as<double>()) {
      const bool whole = *number >= -1e15 && *number <= 1e15 && *number == static_cast<double>(std::int64_t(*number));
      return "n" + (whole ? std::to_string(static_cast<std::int64_t>(*number))
                          : cat("f", std::bit_cast<std::uint64_t>(*number)));
    }
    if (const auto* large = key.as<LargeInteger>()) return "n" + std::to_string(large->value);
    if (key.is_none() || key.is_undefined()) return key.is_none() ? "0" : "u";
    fail("a ", key.type_name(), " cannot be the key of a dict");
  }
  std::unordered_map<std::string, std::size_t> index_;
};

/// namespace(): the one value that a template may change.
struct Namespace {
  Dict attributes;
};

/// The `loop` of a {% for %}.
struct Loop {
  std::vector<Value> items;
  std::size_t index0 = 0;
  std::optional<Value> last_changed;  ///< the last argument of loop.changed()
};

struct Statement;
struct Scope;
/// Something that can be called: a function of the environment, a method of a value, or a macro.
struct Callable {
  std::string name;
  std::optional<Value> self;         ///< of a method
  const Statement* macro = nullptr;  ///< its definition, and the scope that it was defined in
  Scope* scope = nullptr;
};

inline int Value::depth() const {
  if (const auto* list = sequence()) return list->depth;
  if (const auto* entries = dict()) return entries->depth;
  if (loop()) return max_value_depth;  // holds items that may hold loops: cannot be put into another value
  const auto* function = callable();
  return function && function->self ? function->self->depth() : 0;
}

inline const char* Value::type_name() const {
  static constexpr const char* names[] = {"Undefined", "NoneType", "bool", "int",       "float", "int",
                                          "str",       "list",     "dict", "Namespace", "loop",  "function"};
  static constexpr const char* kinds[] = {"list", "tuple", "generator", "dict view", "range"};
  if (const auto* list = sequence()) return kinds[static_cast<int>(list->kind)];
  return names[data_.index()];
}

inline bool Value::same_as(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  return std::visit(
      [&](const auto& mine) {
        using T = std::decay_t<decltype(mine)>;
        const T& theirs = std::get<T>(other.data_);
        if constexpr (std::is_same_v<T, None>)
          return true;
        else if constexpr (std::is_same_v<T, LargeInteger>)
          return mine.value == theirs.value;
        else if constexpr (std::is_same_v<T, std::shared_ptr<const AuthoredText>>)
          return mine->bytes() == theirs->bytes();
        else
          return mine == theirs;
      },
      data_);
}

}  // namespace lamina::text::jinja
