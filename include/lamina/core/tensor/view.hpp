#pragma once
#include <array>
#include <cstddef>
#include <span>
#include <type_traits>

#include <lamina/core/host/device.hpp>

namespace lamina {

/// An extent known only at run time.
inline constexpr int Dyn = -1;

/// A contiguous row-major block that somebody else owns: View<float, Dyn, 2048> is (N, 2048).
template <class T, int... Extents>
class View {
 public:
  static constexpr int rank = sizeof...(Extents);
  using element = T;

  constexpr View() = default;
  /// One argument a dynamic extent, in order.
  template <class... Ints>
  requires(sizeof...(Ints) == ((Extents == Dyn) + ... + 0)) LAMINA_HD constexpr explicit View(T* data, Ints... dynamic)
      : data_(data) {
    const int given[] = {static_cast<int>(dynamic)..., 0};
    int next = 0, i = 0;
    ((extents_[i++] = Extents == Dyn ? given[next++] : Extents), ...);
  }
  /// A view of const elements from one of mutable elements.
  LAMINA_HD constexpr operator View<const T, Extents...>() const requires(!std::is_const_v<T>) {
    View<const T, Extents...> v;
    v.data_ = data_;
    for (int i = 0; i < rank; ++i) v.extents_[i] = extents_[i];
    return v;
  }

  LAMINA_HD constexpr T* data() const { return data_; }
  LAMINA_HD constexpr int extent(int i) const { return extents_[i]; }
  LAMINA_HD constexpr std::size_t size() const {
    std::size_t n = 1;
    for (int i = 0; i < rank; ++i) n *= static_cast<std::size_t>(extents_[i]);
    return n;
  }
  LAMINA_HD constexpr explicit operator bool() const { return data_ != nullptr; }

  template <class... Index>
  requires(sizeof...(Index) == sizeof...(Extents)) LAMINA_HD constexpr T& operator()(Index... index) const {
    std::size_t at = 0;
    int i = 0;
    ((at = at * static_cast<std::size_t>(extents_[i++]) + static_cast<std::size_t>(index)), ...);
    return data_[at];
  }

 private:
  template <class, int...>
  friend class View;
  T* data_ = nullptr;
  std::array<int, sizeof...(Extents)> extents_{};
};

/// A (rows, cols) window whose rows are `stride` elements apart: the operand of a GEMM, so that one buffer can hold q,
/// k and v side by side.
template <class T>
struct Matrix {
  T* data = nullptr;
  int rows = 0, cols = 0;
  std::ptrdiff_t stride = 0;
  /// Columns [cols, stride) if nobody else uses them: whoever reads the matrix may write there. Else null.
  std::remove_const_t<T>* tail = nullptr;

  constexpr Matrix() = default;
  LAMINA_HD constexpr Matrix(T* d, int r, int c, std::ptrdiff_t s) : data(d), rows(r), cols(c), stride(s) {}
  LAMINA_HD constexpr Matrix(T* d, int r, int c) : Matrix(d, r, c, c) {}
  template <int R, int C>
  LAMINA_HD constexpr Matrix(View<T, R, C> v) : Matrix(v.data(), v.extent(0), v.extent(1)) {}
  template <class U, int R, int C>
  requires(std::is_same_v<const U, T>) LAMINA_HD constexpr Matrix(View<U, R, C> v)
      : Matrix(v.data(), v.extent(0), v.extent(1)) {}
  LAMINA_HD constexpr operator Matrix<const T>() const requires(!std::is_const_v<T>) {
    Matrix<const T> m(data, rows, cols, stride);
    m.tail = tail;
    return m;
  }

  LAMINA_HD constexpr explicit operator bool() const { return data != nullptr; }
  LAMINA_HD constexpr T* row(int r) const { return data + r * stride; }
  LAMINA_HD constexpr T& operator()(int r, int c) const { return data[r * stride + c]; }
  LAMINA_HD constexpr Matrix columns(int first, int count) const {
    return {data ? data + first : nullptr, rows, count, stride};
  }
  /// The first columns of the tail; a null matrix if there are fewer.
  LAMINA_HD constexpr Matrix<std::remove_const_t<T>> tail_columns(int count) const {
    return {stride - cols >= count ? tail : nullptr, rows, count, stride};
  }
  LAMINA_HD constexpr Matrix row_range(int first, int count) const {
    return {data ? data + first * stride : nullptr, count, cols, stride};
  }
};

/// All elements of a matrix that has no gaps.
template <class T>
constexpr std::span<T> elements_of(Matrix<T> m) {
  return {m.data, static_cast<std::size_t>(m.rows) * static_cast<std::size_t>(m.cols)};
}
/// The rows of a matrix that has no gaps, as a view of static width D.
template <int D, class T>
LAMINA_HD constexpr View<T, Dyn, D> packed(Matrix<T> m) {
  return View<T, Dyn, D>(m.data, m.rows);
}

}  // namespace lamina
