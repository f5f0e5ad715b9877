#pragma once
#include <lamina/kernel/cuda/launch.cuh>
#include <lamina/kernel/cuda/norm_rows.hpp>

/// Norms of rows. A group of threads (a warp, or a block where rows are wide) holds its row in registers: each tensor
/// is read once and written once, and the time is that of moving it.
namespace lamina::kernel::cuda {

inline constexpr int norm_threads = 256;

/// The sum over the threads that share a row.
template <int Group>
__device__ float group_sum(float x) {
  if constexpr (Group == warp_size)
    return warp_sum(x);
  else
    return block_sum<Group>(x);
}

/// A row's elements that one thread of a group holds: Pieces runs of 16 bytes, or, where rows are not made of such
/// runs, single elements.
template <class T, int Pieces, int Group, bool Whole>
struct RowShare {
  static constexpr int each = Whole ? piece_elements<T> : 1;
  float v[Pieces][each];

  /// Column of the first element of piece p.
  static __device__ int column(int p) { return (p * Group + static_cast<int>(threadIdx.x) % Group) * each; }
  __device__ void load(const T* row, int width) {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      if (column(p) < width) {
        if constexpr (Whole)
          load_piece<T>(row + column(p), v[p]);
        else
          v[p][0] = widen(row[column(p)]);
      } else {
#pragma unroll
        for (int e = 0; e < each; ++e) v[p][e] = 0;
      }
    }
  }
  __device__ void store(T* row, int width) const {
#pragma unroll
    for (int p = 0; p < Pieces; ++p)
      if (column(p) < width) {
        if constexpr (Whole)
          store_piece<T>(row + column(p), v[p]);
        else
          row[column(p)] = narrow<T>(v[p][0]);
      }
  }
  /// f(element, piece, e, column) for every element of the row that this thread holds.
  template <class F>
  __device__ void each_element(int width, F f) {
#pragma unroll
    for (int p = 0; p < Pieces; ++p)
      if (column(p) < width) {
#pragma unroll
        for (int e = 0; e < each; ++e) f(v[p][e], p, e);
      }
  }
};

template <int Group>
__device__ int row_of_group() {
  return blockIdx.x * (norm_threads / Group) + static_cast<int>(threadIdx.x) / Group;
}

template <class T, int Pieces, int Group, bool Whole, bool Centred>
__global__ void norm_rows_fwd(NormRowsFwd<T> a) {
  using Share = RowShare<T, Pieces, Group, Whole>;
  const int n = row_of_group<Group>();
  if (n >= a.rows) return;  // whole groups leave
  const std::size_t at = static_cast<std::size_t>(n) * a.width;
  Share x, g;
  x.load(a.x + at, a.width);
  if (a.s) {
    Share s;
    s.load(a.s + at, a.width);
    x.each_element(a.width, [&](float& v, int p, int e) { v = widen(narrow<T>(s.v[p][e] + v)); });
    x.store(a.s + at, a.width);
  }
  g.load(a.g, a.width);
  float mean = 0;
  if constexpr (Centred) {
    float sum = 0;
    x.each_element(a.width, [&](float& v, int, int) { sum += v; });
    mean = group_sum<Group>(sum) / static_cast<float>(a.width);
  }
  float squares = 0;
  x.each_element(a.width, [&](float& v, int, int) { squares += (v - mean) * (v - mean); });
  const float r = 1 / sqrtf(group_sum<Group>(squares) / static_cast<float>(a.width) + a.eps);
  if (threadIdx.x % Group == 0) {
    if (a.r) a.r[n] = r;
    if (Centred && a.mean) a.mean[n] = mean;
  }
  if constexpr (Centred) {
    Share b;
    b.load(a.b, a.width);
    x.each_element(a.width, [&](float& v, int p, int e) { v = g.v[p][e] * ((v - mean) * r) + b.v[p][e]; });
  } else {
    x.each_element(a.width, [&](float& v, int p, int e) { v = g.v[p][e] * (v * r); });
  }
  x.store(a.y + n * a.y_stride, a.width);
}

/// With xhat = (x - mean) r and h = g dy:  dx = residual + r (h - mean(h) - xhat mean(h xhat)); RMS norm has no
/// mean(h).
template <class T, int Pieces, int Group, bool Whole, bool Centred>
__global__ void norm_rows_bwd_input(NormRowsBwd<T> a) {
  using Share = RowShare<T, Pieces, Group, Whole>;
  const int n = row_of_group<Group>();
  if (n >= a.rows) return;
  const std::size_t at = static_cast<std::size_t>(n) * a.width;
  const float r = a.r[n], mean = Centred ? a.mean[n] : 0;
  Share x, h;
  x.load(a.x + at, a.width);
  h.load(a.dy + at, a.width);
  {
    Share g;
    g.load(a.g, a.width);
    h.each_element(a.width, [&](float& v, int p, int e) { v *= g.v[p][e]; });
  }
  float dot = 0, sum = 0;
  x.each_element(a.width, [&](float& v, int p, int e) {
    v = (v - mean) * r;
    dot += v * h.v[p][e];
    if (Centred) sum += h.v[p][e];
  });
  dot = group_sum<Group>(dot) / static_cast<float>(a.width);
  if constexpr (Centred) sum = group_sum<Group>(sum) / static_cast<float>(a.width);
  x.each_element(a.width, [&](float& v, int p, int e) { v = r * (h.v[p][e] - sum - v * dot); });
  if (a.residual) {
    h.load(a.residual + at, a.width);
    x.each_element(a.width, [&](float& v, int p, int e) { v += h.v[p][e]; });
  }
  x.store(a.dx + at, a.width);
}

/// Shares of dg and db: one thread a column, one row of blocks a run of rows.
template <class T, bool Centred>
__global__ void norm_rows_bwd_gain(NormRowsBwd<T> a, float* parts) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= a.width) return;
  const int run = ceil_div(a.rows, gain_splits), first = blockIdx.y * run, last = min(a.rows, first + run);
  float dg = 0, db = 0;
  for (int n = first; n < last; ++n) {
    const std::size_t at = static_cast<std::size_t>(n) * a.width + i;
    const float dy = widen(a.dy[at]);
    dg += dy * ((widen(a.x[at]) - (Centred ? a.mean[n] : 0)) * a.r[n]);
    db += dy;
  }
  parts[blockIdx.y * a.width + i] = dg;
  parts[(gain_splits + blockIdx.y) * a.width + i] = db;
}
template <class T>
__global__ void add_gain_parts(const float* parts, int width, float* dg, float* db) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= width) return;
  float sum_g = 0, sum_b = 0;
  for (int k = 0; k < gain_splits; ++k) {
    sum_g += parts[k * width + i];
    sum_b += parts[(gain_splits + k) * width + i];
  }
  dg[i] += sum_g;
  if (db) db[i] += sum_b;
}

/// Calls f<Pieces, Group, Whole>() with what suits a width: the fewest registers that hold a row.
template <class T, class F>
void with_row_share(int width, bool whole, F f) {
  const int units = whole ? width / piece_elements<T> : width;
  if (whole) {
    if (units <= warp_size) return f.template operator()<1, warp_size, true>();
    if (units <= 2 * warp_size) return f.template operator()<2, warp_size, true>();
    if (units <= 4 * warp_size) return f.template operator()<4, warp_size, true>();
    if (units <= 8 * warp_size) return f.template operator()<8, warp_size, true>();
    if (units <= 2 * norm_threads) return f.template operator()<2, norm_threads, true>();
    if (units <= 4 * norm_threads) return f.template operator()<4, norm_threads, true>();
    if (units <= 8 * norm_threads) return f.template operator()<8, norm_threads, true>();
    if (units <= 16 * norm_threads) return f.template operator()<16, norm_threads, true>();
  } else {
    if (units <= 4 * norm_threads) return f.template operator()<4, norm_threads, false>();
    if (units <= 64 * norm_threads) return f.template operator()<64, norm_threads, false>();
  }
  fail("norm: rows of ", width, " elements are wider than the kernels hold");
}

template <class T>
void norm_rows_forward(Stream<Cuda> s, const NormRowsFwd<T>& a) {
  if (a.rows == 0) return;
  const bool whole = a.width % piece_elements<T> == 0 && a.y_stride % piece_elements<T> == 0 && is_aligned(a.x) &&
                     is_aligned(a.y) && is_aligned(a.s) && is_aligned(a.g) && is_aligned(a.b);
  with_row_share<T>(a.width, whole, [&]<int Pieces, int Group, bool Whole>() {
    const int blocks = ceil_div(a.rows, norm_threads / Group);
    if (a.centred)
      norm_rows_fwd<T, Pieces, Group, Whole, true><<<blocks, norm_threads, 0, s.handle>>>(a);
    else
      norm_rows_fwd<T, Pieces, Group, Whole, false><<<blocks, norm_threads, 0, s.handle>>>(a);
  });
  check_launch("norm_rows_fwd");
}

template <class T>
void norm_rows_backward(Stream<Cuda> s, const NormRowsBwd<T>& a) {
  if (a.rows == 0) return;
  if (a.dg) {
    Arena::Scope scope(*s.scratch);
    float* parts = s.scratch->take<float>(2 * gain_splits * static_cast<std::size_t>(a.width));
    const dim3 grid(ceil_div(a.width, norm_threads), gain_splits);
    if (a.centred)
      norm_rows_bwd_gain<T, true><<<grid, norm_threads, 0, s.handle>>>(a, parts);
    else
      norm_rows_bwd_gain<T, false><<<grid, norm_threads, 0, s.handle>>>(a, parts);
    check_launch("norm_rows_bwd_gain");
    add_gain_parts<T><<<ceil_div(a.width, norm_threads), norm_threads, 0, s.handle>>>(parts, a.width, a.dg, a.db);
    check_launch("add_gain_parts");
  }
  if (!a.dx) return;
  const bool whole = a.width % piece_elements<T> == 0 && is_aligned(a.x) && is_aligned(a.dy) && is_aligned(a.dx) &&
                     is_aligned(a.residual) && is_aligned(a.g);
  with_row_share<T>(a.width, whole, [&]<int Pieces, int Group, bool Whole>() {
    const int blocks = ceil_div(a.rows, norm_threads / Group);
    if (a.centred)
      norm_rows_bwd_input<T, Pieces, Group, Whole, true><<<blocks, norm_threads, 0, s.handle>>>(a);
    else
      norm_rows_bwd_input<T, Pieces, Group, Whole, false><<<blocks, norm_threads, 0, s.handle>>>(a);
  });
  check_launch("norm_rows_bwd_input");
}

}  // namespace lamina::kernel::cuda

#define LAMINA_CUDA_NORM_ROWS(prefix, T)                                                                             \
  prefix void lamina::kernel::cuda::norm_rows_forward<T>(Stream<Cuda>, const lamina::kernel::cuda::NormRowsFwd<T>&); \
  prefix void lamina::kernel::cuda::norm_rows_backward<T>(Stream<Cuda>, const lamina::kernel::cuda::NormRowsBwd<T>&)
