#pragma once
#include <cstddef>

#include <lamina/core/backend.hpp>

/// What all norms of rows share on CUDA: widths are run-time values, so that every model uses one set of kernels.
namespace lamina::kernel::cuda {

/// y = norm of x, or, where s is not null, s += x and y = norm of s. mean and b null: RMS norm, else layer norm.
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
/// dx = (residual, where it is not null) + the gradient; dg, db are added to. dx or dg (with db) may be null.
template <class T>
struct NormRowsBwd {
  const T *x = nullptr, *g = nullptr, *dy = nullptr, *residual = nullptr;
  const float *mean = nullptr, *r = nullptr;
  T* dx = nullptr;
  float *dg = nullptr, *db = nullptr;
  int rows = 0, width = 0;
  bool centred = false;
};

template <class T>
void norm_rows_forward(Stream<Cuda> s, const NormRowsFwd<T>& a);
template <class T>
void norm_rows_backward(Stream<Cuda> s, const NormRowsBwd<T>& a);

/// A contract's arguments as the shared kernels take them; what a contract has not stays null.
template <class T, int D, class Args>
NormRowsFwd<T> norm_rows_forward_of(const Args& a, float eps) {
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
template <class T, int D, class Args>
NormRowsBwd<T> norm_rows_backward_of(const Args& a) {
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

/// Runs of rows whose shares of dg and db are added up side by side, at most; then they are added up in order.
inline constexpr int most_gain_runs = 1024;
inline std::size_t norm_workspace_bytes(bool gains, int width) {
  return gains ? 2 * most_gain_runs * static_cast<std::size_t>(width) * sizeof(float) : 0;
}

}  // namespace lamina::kernel::cuda
