#pragma once
#include <algorithm>

#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/compose/wrap/wrapper.hpp>
#include <lamina/core/list.hpp>

/// How far back the layers of a decoder look.
namespace lamina {
namespace detail {
/// The window of a layer's attention (Sliding), 0 if it sees everything before it.
template <class Stack>
constexpr int window_of(int layer) {
  if constexpr (requires { Stack::kind_of(0); })
    return [&]<class... Kinds>(List<Kinds...>) {
      int kind = 0, window = 0;
      ((window = Stack::kind_of(layer) == kind++ ? find_t<Kinds, HasHeads>::Mask::window : window), ...);
      return window;
    }(typename Stack::children{});
  else
    return find_t<Stack, HasHeads>::Mask::window;
}
}  // namespace detail

/// Tokens that any layer of a model reads, from each token back, itself among them; 0: some layer reads all.
template <class Model>
inline constexpr int attention_window = [] {
  using Stack = typename detail::Innermost<typename Model::Stack_>::type;
  int most = 0;
  for (int i = 0; i < Stack::repeats; ++i) {
    const int own = detail::window_of<Stack>(i);
    if (own == 0) return 0;
    most = std::max(most, own);
  }
  return most;
}();

}  // namespace lamina
