#pragma once
#include <lamina/compose/wrap/named.hpp>

namespace lamina {

constexpr float power_of_two(int exponent) {
  float x = 1;
  for (; exponent > 0; --exponent) x *= 2;
  for (; exponent < 0; ++exponent) x /= 2;
  return x;
}

/// A linear M whose matrices are stored times 2^Matrices and whose vectors times 2^Vectors, so that its result is
/// 2^Matrices times M's own: products by a power of two are exact, and nothing is computed that M does not compute.
/// Names, shapes and files are M's; the code that fills the memory multiplies by TensorSpec::exponent.
///
/// backward    none: it is for inference
template <Module M, int Matrices, int Vectors = Matrices>
struct Scaled : Wrapper<M> {
  using composition = Scaled;
  template <Module C>
  using rebuild = Scaled<C, Matrices, Vectors>;
  static constexpr Traits traits = [] {
    Traits t = detail::transparent(Wrapper<M>::traits);
    t.matrix_exponent = Matrices, t.vector_exponent = Vectors;
    return t;
  }();

  template <class R, class... Args>
  static void forward(R run, const Parameter* p, Args&&... args) {
    static_assert(!R::mode::train, "Scaled: its weights are not the checkpoint's, so it cannot be trained");
    M::forward(run, p, args...);
  }
  static void backward(auto&&...) {}
};

}  // namespace lamina
