#pragma once
#include <string_view>

#include <lamina/io/keys/range.hpp>

namespace lamina::io {

/// What the value of a key must be. `list` is a comma-separated string or a list; `object` is a mapping, JSON or the
/// path of a file.
enum class KeyType { text, list, flag, integer, number, object };

/// What happens to a key that a file or a command line sets.
enum class KeyStatus {
  honoured,  ///< it decides something
  accepted,  ///< it cannot mean anything here: one line says why
  refused,   ///< any value other than `inert` stops the program with the reason
};

/// One key of a file of settings, or one flag of a command line: all that is known of it without what it fills.
struct KeyRow {
  std::string_view name;
  KeyType type = KeyType::text;
  KeyStatus status = KeyStatus::honoured;
  /// Values, as YAML text and separated by |, that ask for no more than unset does; "" is null. A refused key may be
  /// set to them.
  std::string_view inert = "";
  std::string_view note = "";  ///< honoured: help; accepted: why it has no effect; refused: why, and what to do instead
  Range range = {};            ///< of numbers
  bool bare = false;           ///< `--key` alone is true, though the key takes words too
};

}  // namespace lamina::io
