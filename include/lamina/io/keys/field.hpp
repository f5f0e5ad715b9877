#pragma once
#include <string_view>

namespace lamina::io {

enum class FieldUse {
  fact,      ///< compared with the composition's type: with another value no model fits (model_facts.hpp)
  used,      ///< read, and obeyed
  refused,   ///< would change results in a way that is not built: only the values of `only` are accepted
  no_effect  ///< changes nothing that the programs compute
};

/// What becomes of one field of a JSON file: a row of a table, which io/keys/field_table.hpp holds objects against.
struct Field {
  std::string_view name;
  FieldUse use;
  std::string_view note = "";  ///< what reads it, why it is refused, why it has no effect
  /// A JSON list. refused: the values that are accepted. no_effect: the values about which nothing is said; "": all.
  std::string_view only = "";
};

}  // namespace lamina::io
