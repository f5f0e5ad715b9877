#pragma once
#include <cmath>
#include <cstdint>

#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/matmul/magnitude.hpp>

template <>
struct lamina::kernel::magnitude<lamina::Cpu> {
  template <class T>
  static void norms(Stream<Cpu>, const RowNorms<T>& a);
  template <class T>
  static void forward(Stream<Cpu>, const MagnitudeFwd<T>& a);
  template <class T>
  static void backward(Stream<Cpu>, const MagnitudeBwd<T>& a);
};

namespace lamina::kernel::detail {

/// Some rows of a weight.
inline Weight rows_of(Weight w, int first, int count) {
  w.data = static_cast<const std::byte*>(w.data) + static_cast<std::size_t>(first * w.stride) * size_bytes(w.dtype);
  w.rows = count;
  return w;
}

}  // namespace lamina::kernel::detail

template <class T>
void lamina::kernel::magnitude<lamina::Cpu>::norms(Stream<Cpu>, const RowNorms<T>& a) {
  const RowMajorArray low = array_of(a.a);
  constexpr int block = 16;  // rows of W at a time: what a thread widens stays in its cache
  parallel_for((a.w.rows + block - 1) / block, [&](std::int64_t i) {
    const int first = static_cast<int>(i) * block, count = std::min(block, a.w.rows - first);
    RowMajorArray v = array_of(detail::rows_of(a.w, first, count));
    if (a.a.rows > 0)
      v.matrix().noalias() += a.scale * array_of(detail::rows_of(a.b, first, count)).matrix() * low.matrix();
    MutableArray(a.norms + first, count) = v.square().rowwise().sum().sqrt();
  });
}

template <class T>
void lamina::kernel::magnitude<lamina::Cpu>::forward(Stream<Cpu>, const MagnitudeFwd<T>& a) {
  const int width = a.y.cols;
  const Eigen::ArrayXf factor = array_of(a.m, width) / array_of(a.norms, width);
  parallel_for(a.y.rows, [&](std::int64_t n) {
    Eigen::ArrayXf y = factor * array_of(a.z, n);
    if (a.bias) y += array_of(a.bias, width);
    if (a.beta != 0) y += a.beta * array_of(a.y, n);
    store(a.y, n, y);
  });
}

template <class T>
void lamina::kernel::magnitude<lamina::Cpu>::backward(Stream<Cpu>, const MagnitudeBwd<T>& a) {
  constexpr int block = 64;  // columns: each thread sums its own from the first row to the last
  parallel_for((a.dy.cols + block - 1) / block, [&](std::int64_t i) {
    const int first = static_cast<int>(i) * block, count = std::min(block, a.dy.cols - first);
    const ConstArray norms = array_of(a.norms + first, count), m = array_of(a.m + first, count);
    const auto dy = a.dy.columns(first, count), z = a.z.columns(first, count);
    const auto dz = a.dz.columns(first, count);
    Eigen::ArrayXf sum = Eigen::ArrayXf::Zero(count);
    for (int n = 0; n < a.dy.rows; ++n) {
      const Eigen::ArrayXf d = array_of(dy, n);
      sum += d * array_of(z, n);
      store(dz, n, d * m / norms);
    }
    if (a.dm) MutableArray(a.dm + first, count) += sum / norms;
  });
}
