#pragma once
#include <algorithm>
#include <cstring>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/rows/rows.hpp>

namespace lamina::kernel::detail {

/// Element (r, c) of a weight of any type.
inline float element(const Weight& w, std::int64_t r, int c) {
  const std::int64_t at = r * w.stride + c;
  switch (w.dtype) {
    case DType::BF16:
      return to_f32(static_cast<const bf16*>(w.data)[at]);
    case DType::F16:
      return to_f32(static_cast<const f16*>(w.data)[at]);
    default:
      return static_cast<const float*>(w.data)[at];
  }
}

}  // namespace lamina::kernel::detail

template <>
struct lamina::kernel::rows<lamina::Cpu> {
  template <class T>
  static void gather(Stream<Cpu>, int count, const Rows<T>& a) {
    parallel_for(count, [=](std::int64_t i) { std::memcpy(a.y.row(i), a.x.row(a.index[i]), sizeof(T) * a.x.cols); });
  }
  template <class T>
  static void scatter(Stream<Cpu>, int count, const Rows<T>& a) {
    parallel_for(count, [=](std::int64_t i) { std::memcpy(a.y.row(a.index[i]), a.x.row(i), sizeof(T) * a.x.cols); });
  }
  template <class T>
  static void zero(Stream<Cpu>, Matrix<T> y) {
    parallel_for(y.rows, [=](std::int64_t i) { std::memset(y.row(i), 0, sizeof(T) * y.cols); });
  }
  template <class T>
  static void scatter_add(Stream<Cpu>, int count, const Rows<T>& a) {
    for (int i = 0; i < count; ++i) store(a.y, a.index[i], array_of(a.y, a.index[i]) + array_of(a.x, i));
  }
};

template <>
struct lamina::kernel::embedding<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const EmbeddingFwd<T>& a) {
    parallel_for(a.y.rows, [=](std::int64_t n) {
      for (int c = 0; c < a.y.cols; ++c)
        a.y(n, c) = a.ids[n] < 0 ? T{} : round_to<T>(detail::element(a.w, a.ids[n], c));
    });
  }
  template <class T>
  static void backward(Stream<Cpu>, const EmbeddingBwd<T>& a) {
    for (int n = 0; n < a.dy.rows; ++n) {
      if (a.ids[n] < 0) continue;
      for (int c = 0; c < a.dy.cols; ++c) a.dw(a.ids[n], c) += to_f32(a.dy(n, c));
    }
  }
};

template <>
struct lamina::kernel::learned_position<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const LearnedPositionFwd<T>& a) {
    parallel_for(a.x.rows, [=](std::int64_t n) {
      for (int c = 0; c < a.x.cols; ++c) {
        float position = 0;
        for (int k = 0; k < 4; ++k) position += a.weight[4 * n + k] * detail::element(a.w, a.row[4 * n + k], c);
        a.y(n, c) = round_to<T>(to_f32(a.x(n, c)) + position);
      }
    });
  }
  template <class T>
  static void backward(Stream<Cpu>, const LearnedPositionBwd<T>& a) {
    for (int n = 0; n < a.dy.rows; ++n)
      for (int k = 0; k < 4; ++k)
        for (int c = 0; c < a.dy.cols; ++c) a.dw(a.row[4 * n + k], c) += a.weight[4 * n + k] * to_f32(a.dy(n, c));
  }
};
