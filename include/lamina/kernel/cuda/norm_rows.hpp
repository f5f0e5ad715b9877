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

/// Runs of rows whose shares of dg and db are summed side by side, then in order: at most this many.
inline constexpr int max_gain_runs = 528;
inline std::size_t norm_workspace_bytes(bool gains, int width) {
  return gains ? 2 * ((max_gain_runs * static_cast<std::size_t>(width) * sizeof(float) + 255) / 256 * 256) : 0;
}

}  // namespace lamina::kernel::cuda
