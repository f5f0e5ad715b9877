#pragma once
#include <string_view>

/// Declares a tag: a type whose text is one component of a checkpoint's tensor name. Used inside any namespace.
#define LAMINA_NAME(tag)                           \
  struct tag {                                     \
    static constexpr std::string_view text = #tag; \
  }

/// Tags spelt as in the checkpoints. The path of tags is the tensor's name; there is no other table of names. Here are
/// the names of a layer's parameters; a composition that knows its parts by name declares those, a family its own.
namespace lamina::name {

LAMINA_NAME(weight);
LAMINA_NAME(bias);

}  // namespace lamina::name
