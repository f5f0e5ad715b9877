#pragma once
#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/io/keys/key_values.hpp>

namespace lamina::io {

/// A row of a table of keys, with what it fills: a key or a flag is this row, and the use of the member.
template <class Target>
struct Key : KeyRow {
  using Fill = void (*)(Target&, const Setting&, std::string_view name);
  using Show = std::string (*)(const Target&);

  Fill fill = nullptr;  ///< puts a value that is not null into the target; null: another row's reader looks at it
  Show show = nullptr;  ///< the target's value as text, "" if it has none; null: `inert` is the default

  /// A key that fills nothing.
  constexpr Key(std::string_view name, KeyType type, KeyStatus status, std::string_view inert, std::string_view note)
      : KeyRow{name, type, status, inert, note} {}
  constexpr Key(const KeyRow& row, Fill fill, Show show = nullptr) : KeyRow(row), fill(fill), show(show) {}

  /// The same key, with the numbers that it may be.
  constexpr Key in(Range numbers) const {
    Key key = *this;
    key.range = numbers;
    return key;
  }
  constexpr Key within(double least, double most) const { return in(between(least, most)); }
  /// The same key, which `--key` alone sets to true.
  constexpr Key or_bare() const {
    Key key = *this;
    key.bare = true;
    return key;
  }
  /// The same key, read by a function of its own.
  constexpr Key read_by(Fill reader) const {
    Key key = *this;
    key.fill = reader;
    return key;
  }
  /// The default as text; "" is null.
  std::string default_text() const { return show ? show(Target{}) : std::string(inert); }
};

namespace detail {
template <auto First, auto... Rest>
struct MemberPath;
template <class Target, class Member, Member Target::*First, auto... Rest>
struct MemberPath<First, Rest...> {
  using Root = Target;
  static constexpr auto& of(auto& target) {
    if constexpr (sizeof...(Rest) == 0)
      return target.*First;
    else
      return MemberPath<Rest...>::of(target.*First);
  }
  using Value = std::remove_cvref_t<decltype(of(std::declval<Target&>()))>;
};
}  // namespace detail

/// A key that fills a member, whose type is the key's: honoured<&Arguments::lora_rank>("lora_rank"), or a member of a
/// member: honoured<&Arguments::optimizer, &OptimizerSettings::beta1>("adam_beta1").
template <auto... Members>
constexpr auto honoured(std::string_view name, std::string_view note) {
  using Path = detail::MemberPath<Members...>;
  using Target = typename Path::Root;
  return Key<Target>(
      {name, detail::KeyTypeOf<typename Path::Value>::value, KeyStatus::honoured, "", note},
      [](Target& target, const Setting& s, std::string_view key) { read_value(s, key, Path::of(target)); },
      [](const Target& target) { return show_value(Path::of(target)); });
}

/// A key with a reader of its own. inert: its default, as text.
template <class Target>
constexpr Key<Target> honoured_by(std::string_view name, KeyType type, std::string_view inert,
                                  void (*fill)(Target&, const Setting&, std::string_view), std::string_view note) {
  return {{name, type, KeyStatus::honoured, inert, note}, fill};
}

/// A key that fills a member with one of a few words.
template <const auto& Words, auto... Members>
constexpr auto honoured_word(std::string_view name, std::string_view note) {
  using Path = detail::MemberPath<Members...>;
  return honoured<Members...>(name, note)
      .read_by([](typename Path::Root& target, const Setting& s, std::string_view key) {
        read_value(s, key, Path::of(target));
        if (std::find(std::begin(Words), std::end(Words), text_of(s, key)) == std::end(Words))
          wrong_value(s, key, listed(Words));
      });
}

/// Throws if the value cannot be of the key's type.
inline void check_type(const KeyRow& key, const Setting& s) {
  if (s.value.is_null()) return;
  if (s.bare && key.type != KeyType::flag && !key.bare) throw UsageError(cat(subject(s, key.name), ": wants a value"));
  switch (key.type) {
    case KeyType::flag:
      flag_of(s, key.name);
      break;
    case KeyType::number:
    case KeyType::integer:
      if (key.type == KeyType::integer) integer_of(s, key.name);
      number_in(s, key.name, key.range);
      break;
    case KeyType::text:
      text_of(s, key.name);
      break;
    case KeyType::list:
      list_of(s, key.name);
      break;
    case KeyType::object:
      break;  // a mapping or the path of a file
  }
}

/// True if `value` is one of those that `inert` holds, separated by |.
inline bool is_among(std::string_view value, std::string_view inert) {
  return cat("|", inert, "|").find(cat("|", value, "|")) != std::string::npos;
}

/// True if the setting asks for nothing: it is the key's default, however it is spelt.
inline bool is_inert(const KeyRow& key, const Setting& s) {
  if (s.value.is_null() || (s.value.is_structured() && s.value.empty())) return true;
  const std::string text = shown(s.value);
  switch (key.type) {
    case KeyType::flag:
      return !key.inert.empty() && flag_of(s, key.name) == (key.inert == "true");
    case KeyType::number:
    case KeyType::integer:
      return !key.inert.empty() && number_of(s, key.name) == parse_number(std::string(key.inert));
    case KeyType::list: {
      const auto items = list_of(s, key.name);
      return items.empty() || (items.size() == 1 && items[0] == key.inert);
    }
    default:
      return text.empty() || is_among(text, key.inert);
  }
}

/// A refused key stops unless it asks for nothing; an accepted one leaves a note, without its value if it is a flag,
/// which may be a secret. `group`: the text before its name.
inline void check_value(const KeyRow& key, const Setting& setting, std::vector<std::string>& notes,
                        std::string_view group = "") {
  check_type(key, setting);
  if (key.status == KeyStatus::honoured || is_inert(key, setting)) return;
  if (key.status == KeyStatus::refused)
    throw UsageError(
        cat(subject(setting, cat(group, key.name)), ": ", shown(setting.value), " is refused: ", key.note));
  const bool flag = setting.origin.empty();
  notes.push_back(
      cat(flag ? "--" : "", group, key.name, flag ? "" : ": " + shown(setting.value), " has no effect: ", key.note));
}

/// The key of that name, or null.
template <class Row>
const Row* find_key(std::span<const Row> table, std::string_view name) {
  const auto at = std::find_if(table.begin(), table.end(), [&](const Row& key) { return key.name == name; });
  return at == table.end() ? nullptr : &*at;
}

/// Checks every setting against the table: an unknown key stops with the nearest known one. options: what a program's
/// command line has besides, --dry-run, say.
template <class Target>
void check_keys(std::span<const Key<Target>> table, const Settings& settings, std::vector<std::string>& notes,
                std::initializer_list<std::string_view> options = {}) {
  const bool lists_keys = std::find(options.begin(), options.end(), "keys") != options.end();
  const std::string_view lister = lists_keys ? "--keys" : "--help";
  for (const auto& [name, setting] : settings) {
    const Key<Target>* key = find_key(table, name);
    if (!key) {
      std::vector<std::string_view> known(options);
      for (const std::string_view option : options)
        if (std::ranges::equal(name, option, [](char a, char b) { return a == b || (a == '_' && b == '-'); }))
          throw UsageError(
              cat(subject(setting, name), " is no key: wanted --", option, ", a word of the command line"));
      for (const Key<Target>& k : table) known.push_back(k.name);
      const std::string near = did_you_mean(name, known);
      throw UsageError(cat(subject(setting, foreign_name(name)), " is not a known key",
                           near.empty() ? cat(": ", lister, " lists them") : near));
    }
    check_value(*key, setting, notes);
  }
}

/// Fills the target in the order of the table; a key that is null or absent leaves its default.
template <class Target>
void fill(std::span<const Key<Target>> table, const Settings& settings, Target& target) {
  for (const Key<Target>& key : table) {
    const auto at = settings.find(key.name);
    if (key.fill && at != settings.end() && !at->second.value.is_null()) key.fill(target, at->second, key.name);
  }
}

/// The keys that are honoured, for --help: name, what it is, and its default, one per line.
template <class Target>
std::string help_lines(std::span<const Key<Target>> table, std::string_view prefix = "") {
  std::string text;
  for (const Key<Target>& key : table) {
    if (key.status != KeyStatus::honoured) continue;
    std::string line = cat("  ", prefix, key.name);
    line.resize(std::max<std::size_t>(line.size() + 2, 24), ' ');
    const std::string value = key.default_text();
    text += cat(line, key.note, value.empty() ? "" : "; default " + value, "\n");
  }
  return text;
}

}  // namespace lamina::io
