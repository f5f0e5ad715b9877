#pragma once
#include <type_traits>

#include <lamina/kernel/cuda/launch.cuh>
#include <lamina/kernel/cuda/norm_rows.hpp>

/// Norms of rows. A group of threads (a warp, or a block where rows are wide) holds its row in registers, as it lies in
/// memory: each tensor is read once and written once, and the time is that of moving it.
namespace lamina::kernel::cuda {

inline constexpr int norm_threads = 256;  ///< of a block, at most; blocks of several rows have as many

/// The sum over the threads that share a row.
template <int Group>
__device__ float group_sum(float x) {
  if constexpr (Group == warp_size)
    return warp_sum(x);
  else
    return block_sum<Group>(x);
}

/// A row's elements that one thread of a group holds: Pieces runs of 16 bytes, or, where rows are not made of such
/// runs, single elements. Pieces that a row does not reach are copies of its first, so that no branch holds back a
/// load.
template <class T, int Pieces, int Group, bool Whole>
struct RowShare {
  static constexpr int each = Whole ? piece_elements<T> : 1;
  using Values = float[each];
  std::conditional_t<Whole, uint4, T> raw[Pieces];

  /// Column of the first element of piece p.
  static __device__ int column(int p) { return (p * Group + static_cast<int>(threadIdx.x) % Group) * each; }
  __device__ void load(const T* row, int width) {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      const T* from = row + (column(p) < width ? column(p) : 0);
      if constexpr (Whole)
        raw[p] = *reinterpret_cast<const uint4*>(from);
      else
        raw[p] = *from;
    }
  }
  __device__ void get(int p, Values& to) const {
    if constexpr (Whole)
      widen_piece<T>(raw[p], to);
    else
      to[0] = widen(raw[p]);
  }
  __device__ void set(int p, const Values& from) {
    if constexpr (Whole)
      raw[p] = narrow_piece<T>(from);
    else
      raw[p] = narrow<T>(from[0]);
  }
  __device__ void store(T* row, int width) const {
#pragma unroll
    for (int p = 0; p < Pieces; ++p)
      if (column(p) < width) {
        if constexpr (Whole)
          *reinterpret_cast<uint4*>(row + column(p)) = raw[p];
        else
          row[column(p)] = raw[p];
      }
  }
  /// f(p, values) for the pieces that the row reaches.
  template <class F>
  __device__ void each_piece(int width, F f) const {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      Values v;
      get(p, v);
      if (column(p) < width) f(p, v);
    }
  }
};

/// Threads of a block: groups of a warp come several to a block.
template <int Group>
inline constexpr int row_threads = Group == warp_size ? norm_threads : Group;

template <int Group>
__device__ int row_of_group() {
  return blockIdx.x * (row_threads<Group> / Group) + static_cast<int>(threadIdx.x) / Group;
}

template <class T, int Pieces, int Group, bool Whole, bool Centred>
__global__ void __launch_bounds__(row_threads<Group>) norm_rows_fwd(NormRowsFwd<T> a) {
  using Share = RowShare<T, Pieces, Group, Whole>;
  using Values = typename Share::Values;
  const int n = row_of_group<Group>();
  if (n >= a.rows) return;  // whole groups leave
  const std::size_t at = static_cast<std::size_t>(n) * a.width;
  Share x;
  x.load(a.x + at, a.width);
  if (a.s) {
    Share s;
    s.load(a.s + at, a.width);
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      Values v, more;
      s.get(p, v), x.get(p, more);
#pragma unroll
      for (int e = 0; e < Share::each; ++e) v[e] += more[e];
      x.set(p, v);
    }
    x.store(a.s + at, a.width);
  }
  const auto width = static_cast<float>(a.width);
  float mean = 0, squares = 0;
  if constexpr (Centred) {
    float sum = 0;
    x.each_piece(a.width, [&](int, const Values& v) {
#pragma unroll
      for (float value : v) sum += value;
    });
    mean = group_sum<Group>(sum) / width;
  }
  x.each_piece(a.width, [&](int, const Values& v) {
#pragma unroll
    for (float value : v) squares += (value - mean) * (value - mean);
  });
  const float r = 1 / sqrtf(group_sum<Group>(squares) / width + a.eps);
  if (threadIdx.x % Group == 0) {
    if (a.r) a.r[n] = r;
    if (Centred && a.mean) a.mean[n] = mean;
  }
  Share g, b;
  g.load(a.g, a.width);
  if constexpr (Centred) b.load(a.b, a.width);
#pragma unroll
  for (int p = 0; p < Pieces; ++p) {
    Values v, gain, offset = {};
    x.get(p, v), g.get(p, gain);
    if constexpr (Centred) b.get(p, offset);
#pragma unroll
    for (int e = 0; e < Share::each; ++e) v[e] = gain[e] * ((v[e] - mean) * r) + offset[e];
    x.set(p, v);
  }
  x.store(a.y + n * a.y_stride, a.width);
}

/// With xhat = (x - mean) r and h = g dy:  dx = residual + r (h - mean(h) - xhat mean(h xhat)); RMS norm has no
/// mean(h).
template <class T, int Pieces, int Group, bool Whole, bool Centred>
__global__ void __launch_bounds__(row_threads<Group>) norm_rows_bwd_input(NormRowsBwd<T> a) {
  using Share = RowShare<T, Pieces, Group, Whole>;
  using Values = typename Share::Values;
  const int n = row_of_group<Group>();
  if (n >= a.rows) return;
  const std::size_t at = static_cast<std::size_t>(n) * a.width;
  Share x, dy, residual, g;
  x.load(a.x + at, a.width);
  dy.load(a.dy + at, a.width);
  if (a.residual) residual.load(a.residual + at, a.width);
  g.load(a.g, a.width);
  const float r = a.r[n], mean = Centred ? a.mean[n] : 0;
  const auto gained = [&](int p, Values& h) {
    Values gain;
    dy.get(p, h), g.get(p, gain);
#pragma unroll
    for (int e = 0; e < Share::each; ++e) h[e] *= gain[e];
  };
  float dot = 0, sum = 0;
  x.each_piece(a.width, [&](int p, const Values& v) {
    Values h;
    gained(p, h);
#pragma unroll
    for (int e = 0; e < Share::each; ++e) {
      dot += (v[e] - mean) * r * h[e];
      if (Centred) sum += h[e];
    }
  });
  dot = group_sum<Group>(dot) / static_cast<float>(a.width);
  if constexpr (Centred) sum = group_sum<Group>(sum) / static_cast<float>(a.width);
#pragma unroll
  for (int p = 0; p < Pieces; ++p) {
    Values v, h, more = {};
    x.get(p, v), gained(p, h);
    if (a.residual) residual.get(p, more);
#pragma unroll
    for (int e = 0; e < Share::each; ++e) v[e] = r * (h[e] - sum - (v[e] - mean) * r * dot) + more[e];
    x.set(p, v);
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

/// Calls f<Pieces, Group, Whole>() with what suits a width: two pieces a thread where a group is wide enough, so that
/// registers leave room for the loads of many rows.
template <class T, class F>
void with_row_share(int width, bool whole, F f) {
  const int units = whole ? width / piece_elements<T> : width;
  if (whole) {
    if (units <= warp_size) return f.template operator()<1, warp_size, true>();
    if (units <= 2 * warp_size) return f.template operator()<2, warp_size, true>();
    if (units <= 2 * 64) return f.template operator()<2, 64, true>();
    if (units <= 2 * 128) return f.template operator()<2, 128, true>();
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
    constexpr int threads = row_threads<Group>;
    const int blocks = ceil_div(a.rows, threads / Group);
    if (a.centred)
      norm_rows_fwd<T, Pieces, Group, Whole, true><<<blocks, threads, 0, s.handle>>>(a);
    else
      norm_rows_fwd<T, Pieces, Group, Whole, false><<<blocks, threads, 0, s.handle>>>(a);
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
    constexpr int threads = row_threads<Group>;
    const int blocks = ceil_div(a.rows, threads / Group);
    if (a.centred)
      norm_rows_bwd_input<T, Pieces, Group, Whole, true><<<blocks, threads, 0, s.handle>>>(a);
    else
      norm_rows_bwd_input<T, Pieces, Group, Whole, false><<<blocks, threads, 0, s.handle>>>(a);
  });
  check_launch("norm_rows_bwd_input");
}

}  // namespace lamina::kernel::cuda

#define LAMINA_CUDA_NORM_ROWS(prefix, T)                                                                             \
  prefix void lamina::kernel::cuda::norm_rows_forward<T>(Stream<Cuda>, const lamina::kernel::cuda::NormRowsFwd<T>&); \
  prefix void lamina::kernel::cuda::norm_rows_backward<T>(Stream<Cuda>, const lamina::kernel::cuda::NormRowsBwd<T>&)
