#pragma once
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

 private:
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
