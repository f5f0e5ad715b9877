#pragma once
#include <algorithm>
#include <limits>

#include <lamina/kernel/cuda/matmul/adapters/adapted_product.cuh>
#include <lamina/kernel/cuda/matmul/adapters/adapter_product.cuh>
#include <lamina/kernel/cuda/matmul/adapters/add_adapters.hpp>
#include <lamina/kernel/expect.hpp>

namespace lamina::kernel::cuda {

/// One row per block, for any shape and fp32: sums of products as the formula has them.
template <class T, int Warps>
__global__ void __launch_bounds__(Warps* warp_size) adapter_row(AdapterRows<T> a) {
  extern __shared__ float inner[];
  start_early(a.x.rows);
  const int row = static_cast<int>(blockIdx.x), slot = a.slot(row);
  if (slot < 0) return;
  for (int r = warp_id(); r < a.ranks; r += Warps) {
    const T* const w = a.a.row(slot * a.ranks + r);
    float sum = 0;
    for (int k = lane_id(); k < a.x.cols; k += warp_size) sum += widen(w[k]) * widen(a.x(row, k));
    sum = warp_sum(sum);
    if (lane_id() == 0) inner[r] = widen(narrow<T>(sum));
  }
  __syncthreads();
  for (int o = static_cast<int>(threadIdx.x); o < a.y.cols; o += Warps * warp_size) {
    const T* const w = a.b.row(slot * a.y.cols + o);
    const float* const own = inner + a.part_of(o) * a.rank;
    float sum = widen(a.y(row, o));
    for (int r = 0; r < a.rank; ++r) sum += widen(w[r]) * own[r];
    a.y(row, o) = narrow<T>(sum);
  }
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::add_adapters<lamina::Cuda>::forward(Stream<Cuda> s, const AddAdapters<T>& a) {
  const RowTerms& m = a.adapters;
  if (m.a.dtype != dtype_of<T> || m.b.dtype != dtype_of<T>)
    fail("add_adapters: matrices of ", name_of(m.a.dtype), ", activations of ", name_of(dtype_of<T>));
  detail::expect_shape("add_adapters", "A", m.a.rows, m.a.cols, m.slots * m.ranks(), a.x.cols);
  detail::expect_shape("add_adapters", "B", m.b.rows, m.b.cols, m.slots * a.y.cols, m.rank);
  if (a.x.rows == 0) return;
  const auto matrix = [](const Weight& w) {
    return Matrix<const T>(static_cast<const T*>(w.data), w.rows, w.cols, w.stride);
  };
  cuda::AdapterRows<T> rows{.x = a.x,
                            .a = matrix(m.a),
                            .b = matrix(m.b),
                            .y = a.y,
                            .slots = a.slots,
                            .slot_stride = a.slot_stride,
                            .rank = m.rank,
                            .ranks = m.ranks(),
                            .ends = {},
                            .x_width = 0,
                            .y_width = 0,
                            .column_parts = 0};
  std::fill(std::begin(rows.ends), std::end(rows.ends), std::numeric_limits<int>::max());
  for (int part = 0, end = 0; part + 1 < m.parts; ++part)
    rows.ends[part] = end += m.widths[static_cast<std::size_t>(part)];
  if constexpr (!std::is_same_v<T, float>)
    if (cuda::takes_tensor_cores(rows, m.parts)) {
      if (s.device->compute_capability() == 90) return cuda::choose_adapter_product<T, 8>(s, rows, m.slots);
      return cuda::choose_adapter_product<T, 1>(s, rows, m.slots);
    }
  constexpr int warps = 8;
  const int shared_bytes = rows.ranks * static_cast<int>(sizeof(float));
  cuda::launch_dependent_shared(s, cuda::adapter_row<T, warps>, dim3(a.x.rows), dim3(warps * cuda::warp_size),
                                shared_bytes, rows);
  cuda::check_launch("adapter_row");
}

template <class T>
void lamina::kernel::add_adapters<lamina::Cuda>::finish(Stream<Cuda> s, const AdaptedProduct<T>& a) {
  const RowTerms& m = a.adapters;
  if (m.b.dtype != dtype_of<T>)
    fail("add_adapters: matrices of ", name_of(m.b.dtype), ", activations of ", name_of(dtype_of<T>));
  detail::expect_shape("add_adapters", "h", a.h.rows, a.h.cols, a.y.rows, a.outputs() + m.slots * m.ranks());
  detail::expect_shape("add_adapters", "B", m.b.rows, m.b.cols, m.slots * a.outputs(), m.rank);
  if (a.h.rows == 0) return;
  const cuda::AdaptedRows<T> rows(a);
  const bool whole = cuda::takes_tensor_cores(rows, m.parts);
  if (a.gated) return cuda::launch_adapted_product<true>(s, rows, whole);
  cuda::launch_adapted_product<false>(s, rows, whole);
}
