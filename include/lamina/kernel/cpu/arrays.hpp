#pragma once
#if defined(__CUDACC__)  // Eigen annotates defaulted members for CUDA
#pragma nv_diagnostic push
#pragma nv_diag_suppress 20012
#endif
#include <Eigen/Core>
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

#include <lamina/core/error.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>

/// Runs of numbers as Eigen's arrays of fp32, so that kernels read like their equations, row by row or as a whole:
///
///     store(y, n, g * (array_of(x, n) * r));
///     store(y, array_of(x).rowwise() * g.transpose());
namespace lamina::kernel {

using ConstArray = Eigen::Map<const Eigen::ArrayXf>;
using MutableArray = Eigen::Map<Eigen::ArrayXf>;
using RowMajorArray = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class A>
using MapOf = Eigen::Map<A, Eigen::Unaligned, Eigen::OuterStride<>>;

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

/// A matrix as a whole: in place if it is fp32, else a widened copy.
inline MapOf<RowMajorArray> array_of(Matrix<float> m) {
  return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)};
}
inline MapOf<const RowMajorArray> array_of(Matrix<const float> m) {
  return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)};
}
template <class T>
RowMajorArray array_of(Matrix<T> m) {
  return RowMajorArray::NullaryExpr(
      m.rows, m.cols, [m](Eigen::Index r, Eigen::Index c) { return to_f32(m.row(static_cast<int>(r))[c]); });
}
/// A weight matrix of any of the element types that a checkpoint keeps, widened.
inline RowMajorArray array_of(const Weight& w) {
  const auto widened = [&](const auto* data) {
    return RowMajorArray(array_of(Matrix(data, w.rows, w.cols, w.stride)));
  };
  if (w.dtype == DType::BF16) return widened(static_cast<const bf16*>(w.data));
  if (w.dtype == DType::F16) return widened(static_cast<const f16*>(w.data));
  if (w.dtype != DType::F32) fail("array_of: a weight of ", name_of(w.dtype), ", wanted F32, BF16 or F16");
  return widened(static_cast<const float*>(w.data));
}
/// A vector's gradient, or a matrix's, to add to. Only if p learns.
inline MutableArray grad_of(const Parameter& p) { return {p.grad, Eigen::Index{p.value.rows} * p.value.cols}; }

/// Stores an array's elements at `to`, in row n, or in a whole matrix, each rounded once.
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

template <class T, class E>
void store(Matrix<T> m, const Eigen::ArrayBase<E>& values) {
  const RowMajorArray wide = values;
  for (int n = 0; n < m.rows; ++n) store(m, n, wide.row(n).transpose());
}
template <class E>
void store(Matrix<float> m, const Eigen::ArrayBase<E>& values) {
  array_of(m) = values;
}

}  // namespace lamina::kernel
