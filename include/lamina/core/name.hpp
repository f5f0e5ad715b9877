#pragma once
#include <string_view>

namespace lamina {
/// The tag of a stack with the number of one of its layers: layers{}[7].
template <class Tag>
struct NumberedName {
  int number = 0;
};
}  // namespace lamina

/// Declares a tag: a type whose text is one component of a checkpoint's tensor name. Used inside any namespace.
#define LAMINA_NAME(tag)                                                                    \
  struct tag {                                                                              \
    static constexpr std::string_view text = #tag;                                          \
    constexpr ::lamina::NumberedName<tag> operator[](int number) const { return {number}; } \
  }

/// Tags spelt as in the checkpoints. The path of tags is the tensor's name; there is no other table of names. Here are
/// the names of a layer's parameters; a composition that knows its parts by name declares those, a family its own.
namespace lamina::name {

LAMINA_NAME(weight);
LAMINA_NAME(bias);

}  // namespace lamina::name
