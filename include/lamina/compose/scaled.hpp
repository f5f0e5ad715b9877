#pragma once
#include <lamina/compose/frozen.hpp>

namespace lamina {

constexpr float power_of_two(int exponent) {
  float x = 1;
  for (; exponent > 0; --exponent) x *= 2;
  for (; exponent < 0; ++exponent) x /= 2;
  return x;
}

/// A linear M whose matrices are stored times 2^Matrices and whose vectors times 2^Vectors, so that what it gives is
/// 2^Matrices of M's own: products by a power of two are exact, and nothing is computed that M does not compute. Names,
/// shapes and files are M's; the code that fills the memory multiplies by TensorSpec::exponent.
///
/// backward    none: it is for inference
template <Module M, int Matrices, int Vectors = Matrices>
struct Scaled {
  using composition = Scaled;
  using children = List<M>;
  template <Module C>
  using rebuild = Scaled<C, Matrices, Vectors>;
  static constexpr int matrix_exponent = Matrices, vector_exponent = Vectors;
  using In = typename M::In;
  using Out = typename M::Out;
  static constexpr bool learns = M::learns;
  static constexpr bool strided_y = lamina::strided_y<M>(), strided_dx = lamina::strided_dx<M>();

  template <std::size_t, class Mode>
  using mode_of = Mode;
  template <class Mode>
  static constexpr bool saves_input = M::template saves_input<Mode>;
  template <class Mode>
  using Saved = typename M::template Saved<Mode>;

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    static_assert(!R::mode::train, "Scaled: its weights are not the checkpoint's, so it cannot be trained");
    M::forward(run, p, saved, x, y);
  }
  static void backward(auto&&...) {}
};

/// The power of two that M's matrix is multiplied by in memory.
template <class M>
inline constexpr int matrix_exponent_of = 0;
template <class M, int Matrices, int Vectors>
inline constexpr int matrix_exponent_of<Scaled<M, Matrices, Vectors>> = Matrices;
template <class Tag, class M>
inline constexpr int matrix_exponent_of<Named<Tag, M>> = matrix_exponent_of<M>;

namespace detail {
template <class M, int Matrices, int Vectors>
struct Innermost<Scaled<M, Matrices, Vectors>> : Innermost<M> {};
}  // namespace detail

}  // namespace lamina
