#pragma once
#include <algorithm>
#include <type_traits>

#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/norm/norm_rows.hpp>

/// Norms of rows. A group of threads (a warp, or a block if rows are wide) holds its row in registers, as it is stored
/// in memory: each tensor is read once and written once, and the time is that of moving it.
namespace lamina::kernel::cuda {

inline constexpr int norm_threads = 256;  ///< of a block, at most; blocks of several rows have as many
inline constexpr int gain_threads = 512;  ///< of a multiprocessor, if gains learn: what its registers hold
inline constexpr int gain_rows = 32;      ///< of add_gain_parts' blocks

/// The sum over the threads that share a row.
template <int Group>
__device__ float group_sum(float x) {
  if constexpr (Group == warp_size)
    return warp_sum(x);
  else
    return block_sum<Group>(x);
}

/// A row's elements that one thread of a group holds: Pieces runs of 16 bytes, or, if rows are not made of such
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
  start_early(a.rows);
  using Share = RowShare<T, Pieces, Group, Whole>;
  using Values = typename Share::Values;
  const int n = row_of_group<Group>();
  if (n >= a.rows) return;  // whole groups leave
  const std::size_t at = static_cast<std::size_t>(n) * a.width;
  Share x, g, b;
  x.load(a.x + at, a.width);
  g.load(a.g, a.width);
  if constexpr (Centred) b.load(a.b, a.width);
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

/// Blocks that a multiprocessor shall hold: if gains learn, as many as are started.
template <int Pieces, int Group, bool Learns>
inline constexpr int norm_bwd_blocks = Pieces <= 2 && Learns ? gain_threads / row_threads<Group> : 1;

/// With xhat = (x - mean) r and h = g dy:  dx = residual + r (h - mean(h) - xhat mean(h xhat)); RMS norm has no
/// mean(h). Where gains learn, a group goes from row to row, so that its shares of dg += dy xhat and db += dy stay in
/// registers to the end, and while it works on a row the next one is on its way; else it has one row.
template <class T, int Pieces, int Group, bool Whole, bool Centred, bool Learns>
__global__ void __launch_bounds__(row_threads<Group>, norm_bwd_blocks<Pieces, Group, Learns>)
    norm_rows_bwd(NormRowsBwd<T> a, float* parts) {
  using Share = RowShare<T, Pieces, Group, Whole>;
  using Values = typename Share::Values;
  struct Row {
    Share x, dy, residual;
    float r, mean;
  };
  const auto fetch = [&](int n) {
    const std::size_t at = static_cast<std::size_t>(n) * a.width;
    Row row;
    row.x.load(a.x + at, a.width);
    row.dy.load(a.dy + at, a.width);
    if (a.residual) row.residual.load(a.residual + at, a.width);
    row.r = a.r[n], row.mean = Centred ? a.mean[n] : 0;
    return row;
  };
  const int group = row_of_group<Group>(), groups = gridDim.x * (row_threads<Group> / Group);
  if (group >= a.rows) return;  // whole groups leave
  Row next = fetch(group);
  Share g;
  g.load(a.g, a.width);
  Values dg[Pieces] = {}, db[Pieces] = {};
  for (int n = group; n < a.rows; n += groups) {
    Row row = next;
    if constexpr (Learns) next = fetch(min(n + groups, a.rows - 1));
    const float r = row.r, mean = row.mean;
    const auto gained = [&](int p, Values& h) {
      Values gain;
      row.dy.get(p, h), g.get(p, gain);
#pragma unroll
      for (int e = 0; e < Share::each; ++e) h[e] *= gain[e];
    };
    // as written, so that the compiler rounds dx alike with gains that learn and without
    const auto normal = [&](float v) { return __fmul_rn(__fsub_rn(v, mean), r); };
    float dot = 0, sum = 0;
    row.x.each_piece(a.width, [&](int p, const Values& v) {
      Values h;
      gained(p, h);
#pragma unroll
      for (int e = 0; e < Share::each; ++e) {
        dot = __fmaf_rn(normal(v[e]), h[e], dot);
        if (Centred) sum += h[e];
      }
    });
    if constexpr (Learns) {
#pragma unroll
      for (int p = 0; p < Pieces; ++p) {
        Values v, d;
        row.x.get(p, v), row.dy.get(p, d);
#pragma unroll
        for (int e = 0; e < Share::each; ++e) dg[p][e] += d[e] * normal(v[e]), db[p][e] += d[e];
      }
    }
    dot = group_sum<Group>(dot) / static_cast<float>(a.width);
    if constexpr (Centred) sum = group_sum<Group>(sum) / static_cast<float>(a.width);
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      Values v, h, more = {};
      row.x.get(p, v), gained(p, h);
      if (a.residual) row.residual.get(p, more);
#pragma unroll
      for (int e = 0; e < Share::each; ++e)
        v[e] = __fmaf_rn(r, __fmaf_rn(-normal(v[e]), dot, __fsub_rn(h[e], sum)), more[e]);
      row.x.set(p, v);
    }
    if (!Learns || a.dx) row.x.store(a.dx + static_cast<std::size_t>(n) * a.width, a.width);
    if constexpr (!Learns) return;
  }
  const auto leave = [&](const Values(&share)[Pieces], int run) {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
#pragma unroll
      for (int e = 0; e < Share::each; ++e)
        if (Share::column(p) < a.width) parts[std::ptrdiff_t{run} * a.width + Share::column(p) + e] = share[p][e];
    }
  };
  const int runs = min(groups, a.rows);
  leave(dg, group);
  if (a.db) leave(db, runs + group);
}

/// dg += the sum of the first `runs` parts, db += that of the next `runs`. A block has 32 columns of one of them; the
/// order is fixed.
static __global__ void add_gain_parts(const float* parts, int runs, int width, float* dg, float* db) {
  __shared__ float sums[gain_rows][warp_size];
  const int c = blockIdx.x * warp_size + threadIdx.x, y = threadIdx.y;
  float* const to = blockIdx.y == 0 ? dg : db;
  parts += std::ptrdiff_t{blockIdx.y} * runs * width;
  float sum = 0;
  if (c < width) {
#pragma unroll 8
    for (int run = y; run < runs; run += gain_rows) sum += parts[std::ptrdiff_t{run} * width + c];
  }
  sums[y][threadIdx.x] = sum;
  __syncthreads();
  if (y > 0 || c >= width) return;
  for (int other = 1; other < gain_rows; ++other) sum += sums[other][threadIdx.x];
  to[c] += sum;
}

/// Calls f<Pieces, Group, Whole>() with what suits a width: two pieces per thread if a group is wide enough, so that
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

/// Whether all rows are made of pieces.
template <class T>
bool rows_in_pieces(const NormRowsFwd<T>& a) {
  return a.width % piece_elements<T> == 0 && a.y_stride % piece_elements<T> == 0 && is_aligned(a.x) &&
         is_aligned(a.y) && is_aligned(a.s) && is_aligned(a.g) && is_aligned(a.b);
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::norm_rows<lamina::Cuda>::forward(Stream<Cuda> s, const NormRowsFwd<T>& a) {
  if (a.rows == 0) return;
  cuda::with_row_share<T>(a.width, cuda::rows_in_pieces(a), [&]<int Pieces, int Group, bool Whole>() {
    constexpr int threads = cuda::row_threads<Group>;
    const int blocks = cuda::ceil_div(a.rows, threads / Group);
    if (a.centred)
      cuda::launch_dependent(s, cuda::norm_rows_fwd<T, Pieces, Group, Whole, true>, blocks, threads, a);
    else
      cuda::launch_dependent(s, cuda::norm_rows_fwd<T, Pieces, Group, Whole, false>, blocks, threads, a);
  });
  cuda::check_launch("norm_rows_fwd");
}

template <class T>
void lamina::kernel::norm_rows<lamina::Cuda>::backward(Stream<Cuda> s, const NormRowsBwd<T>& a) {
  if (a.rows == 0 || (!a.dx && !a.dg)) return;
  const bool whole = a.width % cuda::piece_elements<T> == 0 && cuda::is_aligned(a.x) && cuda::is_aligned(a.dy) &&
                     cuda::is_aligned(a.dx) && cuda::is_aligned(a.residual) && cuda::is_aligned(a.g);
  Arena::Scope scope(*s.scratch);
  float* const parts = a.dg ? s.scratch->take<float>(2 * most_gain_runs * static_cast<std::size_t>(a.width)) : nullptr;
  int runs = 0;
  cuda::with_row_share<T>(a.width, whole, [&]<int Pieces, int Group, bool Whole>() {
    constexpr int threads = cuda::row_threads<Group>, groups = threads / Group;
    const int all = cuda::ceil_div(a.rows, groups), most = cuda::gain_threads / threads * s.device->multiprocessors();
    const int blocks = a.dg ? std::min({all, most_gain_runs / groups, most}) : all;
    runs = std::min(blocks * groups, a.rows);
    const auto launch = [&]<bool Centred, bool Learns>() {
      cuda::norm_rows_bwd<T, Pieces, Group, Whole, Centred, Learns><<<blocks, threads, 0, s.handle>>>(a, parts);
    };
    if (a.centred)
      a.dg ? launch.template operator()<true, true>() : launch.template operator()<true, false>();
    else
      a.dg ? launch.template operator()<false, true>() : launch.template operator()<false, false>();
  });
  cuda::check_launch("norm_rows_bwd");
  if (!a.dg) return;
  const dim3 grid(cuda::ceil_div(a.width, cuda::warp_size), a.db ? 2 : 1);
  cuda::add_gain_parts<<<grid, dim3(cuda::warp_size, cuda::gain_rows), 0, s.handle>>>(parts, runs, a.width, a.dg, a.db);
  cuda::check_launch("add_gain_parts");
}
