#pragma once
#include <cstddef>

#include <lamina/core/backend.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// The operation behind every norm of rows (rms_norm.hpp, layer_norm.hpp, add_norm.hpp): widths are run-time values, so
/// that every model shares one body on the CPU and one set of kernels on CUDA.
namespace lamina::kernel {

/// y = norm of x, or, if s is not null, s += x and y = norm of s. mean and b null: RMS norm, else layer norm.
template <class T>
struct NormRowsFwd {
  const T *x = nullptr, *g = nullptr, *b = nullptr;
  T *s = nullptr, *y = nullptr;
  float *mean = nullptr, *r = nullptr;  ///< may be null
  int rows = 0, width = 0;
  std::ptrdiff_t y_stride = 0;
  bool centred = false;  ///< layer norm
  float eps = 0;
};
/// dx = (residual, if it is not null) + the gradient; dg, db are added to. dx or dg (with db) may be null.
template <class T>
struct NormRowsBwd {
  const T *x = nullptr, *g = nullptr, *dy = nullptr, *residual = nullptr;
  const float *mean = nullptr, *r = nullptr;
  T* dx = nullptr;
  float *dg = nullptr, *db = nullptr;
  int rows = 0, width = 0;
  bool centred = false;
};

template <class B>
struct norm_rows {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

/// A norm's contract as norm_rows meets it. Members that the contract does not have stay null.
template <template <class, int> class Fwd, class T, int D>
NormRowsFwd<T> by_rows(const Fwd<T, D>& a, float eps) {
  NormRowsFwd<T> rows{.x = a.x.data(),
                      .g = a.g.data(),
                      .y = a.y.data,
                      .r = a.r,
                      .rows = a.x.extent(0),
                      .width = D,
                      .y_stride = a.y.stride,
                      .eps = eps};
  if constexpr (requires { a.b; }) rows.b = a.b.data(), rows.mean = a.mean, rows.centred = true;
  if constexpr (requires { a.s; }) rows.s = a.s.data();
  return rows;
}

/// A norm's contract, met by norm_rows of the same backend.
template <class B>
struct norm_by_rows {
  template <template <class, int> class Fwd, class T, int D>
  static void forward(Stream<B> s, const Fwd<T, D>& a, float eps) {
    norm_rows<B>::forward(s, by_rows(a, eps));
  }
  template <template <class, int> class Bwd, class T, int D>
  static void backward(Stream<B> s, const Bwd<T, D>& a) {
    norm_rows<B>::backward(s, rows_of(a));
  }
  /// What a backward pass takes of its stream's scratch.
  template <template <class, int> class Bwd, class T, int D>
  static std::size_t workspace_bytes(const Bwd<T, D>& a) requires requires {
    a.dg;
  }
  { return norm_rows<B>::workspace_bytes(rows_of(a)); }

 private:
  template <template <class, int> class Bwd, class T, int D>
  static NormRowsBwd<T> rows_of(const Bwd<T, D>& a) {
    NormRowsBwd<T> rows{.x = a.x.data(),
                        .g = a.g.data(),
                        .dy = a.dy.data(),
                        .r = a.r,
                        .dx = a.dx.data(),
                        .dg = a.dg,
                        .rows = a.x.extent(0),
                        .width = D};
    if constexpr (requires { a.db; }) rows.mean = a.mean, rows.db = a.db, rows.centred = true;
    if constexpr (requires { a.residual; }) rows.residual = a.residual.data();
    return rows;
  }
};

}  // namespace lamina::kernel
