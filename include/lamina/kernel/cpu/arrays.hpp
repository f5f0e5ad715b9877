#pragma once
#if defined(__CUDACC__)  // Eigen annotates defaulted members for CUDA
#pragma nv_diagnostic push
#pragma nv_diag_suppress 20012
#endif
#include <Eigen/Core>
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/tensor/view.hpp>

/// Runs of numbers as Eigen's arrays of fp32, so that kernels read like their equations:
///
///     store(y, n, g * (array_of(x, n) * r));
namespace lamina::kernel {

using ConstArray = Eigen::Map<const Eigen::ArrayXf>;
using MutableArray = Eigen::Map<Eigen::ArrayXf>;

/// n elements at p: as they are, or a widened copy.
inline ConstArray array_of(const float* p, Eigen::Index n) { return {p, n}; }
template <class T>
Eigen::ArrayXf array_of(const T* p, Eigen::Index n) {
  return Eigen::ArrayXf::NullaryExpr(n, [p](Eigen::Index i) { return to_f32(p[i]); });
}
/// Row n of a matrix; a vector.
template <class T>
auto array_of(Matrix<T> m, std::int64_t n) {
  return array_of(static_cast<const T*>(m.row(static_cast<int>(n))), m.cols);
}
template <class T, int D>
auto array_of(View<const T, D> v) {
  return array_of(v.data(), D);
}

/// Stores an array's elements at `to`, or in row n, each rounded once.
template <class E>
void store(float* to, const Eigen::ArrayBase<E>& values) {
  MutableArray(to, values.size()) = values;
}
template <class T, class E>
void store(T* to, const Eigen::ArrayBase<E>& values) {
  const Eigen::ArrayXf wide = values;
  for (Eigen::Index i = 0; i < wide.size(); ++i) to[i] = round_to<T>(wide[i]);
}
template <class T, class E>
void store(Matrix<T> m, std::int64_t n, const Eigen::ArrayBase<E>& values) {
  store(m.row(static_cast<int>(n)), values);
}

}  // namespace lamina::kernel
