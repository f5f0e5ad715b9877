#pragma once
#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/json/fields.hpp>
#include <lamina/io/keys/field.hpp>
#include <lamina/io/visible.hpp>

/// The JSON files that come with a model hold more fields than the programs compute with. A table for each object of
/// each file says what becomes of every field that is known, so that none is passed over in silence.
namespace lamina::io {

/// The tables of one object, joined.
inline std::vector<Field> joined(std::initializer_list<std::span<const Field>> tables) {
  std::vector<Field> all;
  for (const std::span<const Field> table : tables) all.insert(all.end(), table.begin(), table.end());
  return all;
}

/// The first entry of that name, or nullptr.
inline const Field* find_field(std::span<const Field> known, std::string_view name) {
  const auto at = std::find_if(known.begin(), known.end(), [&](const Field& f) { return f.name == name; });
  return at == known.end() ? nullptr : &*at;
}

namespace detail {

/// True for a value of the JSON list `only`; numbers may differ by rounding, an empty list or object counts as absent.
inline bool is_one_of(std::string_view only, const nlohmann::json& value) {
  if (value.is_structured() && value.empty()) return true;
  const auto list = parse_json<nlohmann::json>(only);
  return std::any_of(list.begin(), list.end(), [&](const nlohmann::json& item) {
    if (!item.is_number() || !value.is_number()) return item == value;
    const double a = item.get<double>(), b = value.get<double>();
    return std::abs(a - b) <= 1e-9 * std::abs(a);
  });
}

/// "[true, 3]" as a message says it: "true, 3"; "null" for an empty list.
inline std::string accepted_text(std::string_view only) {
  const std::string inside(only.substr(1, only.size() - 2));
  return inside.empty() ? "null" : inside;
}

}  // namespace detail

/// Holds an object against the table of its fields. null counts as absent. Error on a refused value, which names the
/// field and what is accepted; a note on a value without effect that the table does not pass. A field that the table
/// does not know gets a note as well, not an Error: transformers' classes for these model types read no such field
/// either, and trainers stamp their own into config files.
inline void check_fields(const JsonFields& fields, std::span<const Field> known) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : fields.json().items()) {
    if (value.is_null()) continue;
    const Field* field = find_field(known, name);
    if (!field)
      unknown.push_back(fields.path(name));
    else if (field->only.empty() || detail::is_one_of(field->only, value))
      continue;
    else if (field->use == FieldUse::refused)
      fields.wrong(name, value, cat(detail::accepted_text(field->only), ": ", field->note));
    else
      note(cat(fields.file(), ": ", fields.path(name), " has no effect: ", field->note));
  }
  if (unknown.empty()) return;
  note(cat(
      fields.file(), ": ", foreign_names(unknown),
      unknown.size() == 1 ? " is not a known field and has no effect" : " are not known fields and have no effect"));
}

}  // namespace lamina::io
