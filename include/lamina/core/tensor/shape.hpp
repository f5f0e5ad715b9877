#pragma once
#include <array>

#include <lamina/core/tensor/view.hpp>

namespace lamina {

/// Extents as a type: Shape<Dyn, 2048> is any number of rows of 2048.
template <int... Extents>
struct Shape {
  static constexpr int rank = sizeof...(Extents);
  static constexpr std::array<int, sizeof...(Extents)> extents{Extents...};
  static constexpr int width = [] {
    int last = 1;
    ((last = Extents), ...);
    return last;
  }();
};

}  // namespace lamina
