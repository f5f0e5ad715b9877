#pragma once
#include <algorithm>
#include <cmath>

#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/norm/norm_rows.hpp>

template <>
struct lamina::kernel::norm_rows<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const NormRowsFwd<T>& a);
  template <class T>
  static void backward(Stream<Cpu>, const NormRowsBwd<T>& a);

 private:
  /// One thread owns a run of columns, so that rows add up in one order.
  template <class T>
  static void gain_gradients(const NormRowsBwd<T>& a);
};

/// h = (x - mean) r, with mean = 0 for an RMS norm;   y = g h + b
template <class T>
void lamina::kernel::norm_rows<lamina::Cpu>::forward(Stream<Cpu>, const NormRowsFwd<T>& a) {
  const auto g = array_of(a.g, a.width), b = array_of(a.b, a.b ? a.width : 0);
  parallel_for(a.rows, [&](std::int64_t n) {
    const T* row = a.x + n * a.width;
    T* y = a.y + n * a.y_stride;
    if (a.s) {
      store(a.s + n * a.width, array_of(a.s + n * a.width, a.width) + array_of(row, a.width));
      row = a.s + n * a.width;
    }
    const auto x = array_of(row, a.width);
    const float mean = a.centred ? x.mean() : 0;
    const float r = 1 / std::sqrt((x - mean).square().mean() + a.eps);
    if (a.mean) a.mean[n] = mean;
    if (a.r) a.r[n] = r;
    if (a.centred)
      store(y, (x - mean) * r * g + b);
    else
      store(y, g * (x * r));
  });
}

/// dh = g dy;   dx = r (dh - [layer norm] mean(dh) - h mean(dh h))
template <class T>
void lamina::kernel::norm_rows<lamina::Cpu>::backward(Stream<Cpu>, const NormRowsBwd<T>& a) {
  if (a.dg) gain_gradients(a);
  if (!a.dx) return;
  const auto g = array_of(a.g, a.width);
  parallel_for(a.rows, [&](std::int64_t n) {
    const auto x = array_of(a.x + n * a.width, a.width), dy = array_of(a.dy + n * a.width, a.width);
    const float r = a.r[n], mean = a.centred ? a.mean[n] : 0;
    const auto h = (x - mean) * r;
    const float mean_dh = a.centred ? (g * dy).mean() : 0, mean_dh_h = (g * dy * h).mean();
    const auto dx = r * (g * dy - mean_dh - h * mean_dh_h);
    if (a.residual)
      store(a.dx + n * a.width, array_of(a.residual + n * a.width, a.width) + dx);
    else
      store(a.dx + n * a.width, dx);
  });
}

/// dg += sum_n dy h,   db += sum_n dy
template <class T>
void lamina::kernel::norm_rows<lamina::Cpu>::gain_gradients(const NormRowsBwd<T>& a) {
  constexpr int block = 64;
  parallel_for((a.width + block - 1) / block, [&](std::int64_t i) {
    const int first = static_cast<int>(i) * block, count = std::min(block, a.width - first);
    MutableArray dg(a.dg + first, count), db(a.db ? a.db + first : a.dg, a.db ? count : 0);
    for (int n = 0; n < a.rows; ++n) {
      const std::ptrdiff_t at = std::ptrdiff_t{n} * a.width + first;
      const auto x = array_of(a.x + at, count), dy = array_of(a.dy + at, count);
      dg += dy * (x - (a.centred ? a.mean[n] : 0)) * a.r[n];
      if (a.db) db += dy;
    }
  });
}
