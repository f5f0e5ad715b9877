#pragma once
#include <string_view>

namespace lamina::train {

/// What a key's value must be. `list` is a comma-separated string or a YAML list; `object` is a mapping or a file's
/// path.
enum class KeyType { text, list, flag, integer, number, object };

/// What happens to a key that a file sets.
enum class KeyStatus {
  honoured,  ///< it does what LLaMA-Factory's does
  accepted,  ///< it cannot mean anything here, or nothing in training: one line says why
  refused,   ///< any value other than `inert` stops the run with the reason
};

/// One key of the flat key space that a training file may use.
struct Key {
  std::string_view name;
  KeyType type;
  KeyStatus status;
  /// As YAML text: the default, or what asks for no more; "" is null. A refused key may be set to it
  std::string_view inert;
  std::string_view note;  ///< accepted: why it has no effect; refused: why, and what to do instead
};

}  // namespace lamina::train
