#pragma once
#include <cmath>
#include <vector>

#include <lamina/kernel/cpu/matmul/matmul.hpp>
#include <lamina/kernel/matmul/add_adapters.hpp>

/// Two products for each run of rows of one slot.
template <>
struct lamina::kernel::add_adapters<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu> s, const AddAdapters<T>& a) {
    const auto slot = [&](int n) { return a.slots[static_cast<std::ptrdiff_t>(n) * a.slot_stride]; };
    for (int first = 0, last = 0; first < a.x.rows; first = last) {
      while (last < a.x.rows && slot(last) == slot(first)) ++last;
      if (slot(first) >= 0) add_rows(s, a, slot(first), first, last - first);
    }
  }
  template <class T>
  static void finish(Stream<Cpu>, const AdaptedProduct<T>& a) {
    const int outputs = a.outputs();
    parallel_for(a.y.rows, [&](std::int64_t row) {
      const int n = static_cast<int>(row), slot = a.slots[row * a.slot_stride];
      std::vector<float> z(static_cast<std::size_t>(outputs));
      for (int o = 0; o < outputs; ++o)
        z[static_cast<std::size_t>(o)] = to_f32(a.h(n, o)) + (a.bias ? to_f32(a.bias[o]) : 0.0f);
      if (slot >= 0) add_terms(a, n, slot, z);
      for (int o = 0; o < a.y.cols; ++o) {
        const float own = z[static_cast<std::size_t>(o)];
        if (a.gated)
          a.y(n, o) = round_to<T>(own / (1 + std::exp(-own)) * z[static_cast<std::size_t>(a.y.cols + o)]);
        else
          a.y(n, o) = round_to<T>(a.beta == 0 ? own : own + a.beta * to_f32(a.y(n, o)));
      }
    });
  }

 private:
  /// z += B_s t, of row n.
  template <class T>
  static void add_terms(const AdaptedProduct<T>& a, int n, int slot, std::vector<float>& z) {
    const RowTerms& m = a.adapters;
    const int outputs = a.outputs();
    for (int part = 0, o = 0; part < m.parts; ++part)
      for (const int end = o + m.widths[static_cast<std::size_t>(part)]; o < end; ++o) {
        const T* const t = &a.h(n, outputs + slot * m.ranks() + part * m.rank);
        const T* const b =
            static_cast<const T*>(m.b.data) + (static_cast<std::ptrdiff_t>(slot) * outputs + o) * m.b.stride;
        for (int r = 0; r < m.rank; ++r) z[static_cast<std::size_t>(o)] += to_f32(b[r]) * to_f32(t[r]);
      }
  }
  template <class T>
  static void add_rows(Stream<Cpu> s, const AddAdapters<T>& a, int slot, int first, int count) {
    const RowTerms& m = a.adapters;
    std::vector<T> values(static_cast<std::size_t>(count) * static_cast<std::size_t>(m.ranks()));
    const Matrix<T> t(values.data(), count, m.ranks());
    matmul<Cpu>::forward(
        s, MatmulFwd<T>{.x = a.x.row_range(first, count), .w = rows_of(m.a, slot * t.cols, t.cols), .y = t});
    const Matrix<T> y = a.y.row_range(first, count);
    for (int part = 0, column = 0; part < m.parts; ++part) {
      const int width = m.widths[static_cast<std::size_t>(part)];
      matmul<Cpu>::forward(s, MatmulFwd<T>{.x = t.columns(part * m.rank, m.rank),
                                           .w = rows_of(m.b, slot * y.cols + column, width),
                                           .y = y.columns(column, width),
                                           .beta = 1});
      column += width;
    }
  }
  static Weight rows_of(Weight w, int first, int count) {
    w.data = static_cast<const std::byte*>(w.data) + first * w.stride * static_cast<int>(size_bytes(w.dtype));
    w.rows = count;
    return w;
  }
};
