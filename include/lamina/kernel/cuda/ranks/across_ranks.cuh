#pragma once
#include <lamina/core/arena.hpp>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/elementwise/add.cuh>
#include <lamina/kernel/cuda/norm/norm_rows.cuh>
#include <lamina/kernel/cuda/ranks/across_ranks.hpp>
#include <lamina/kernel/cuda/ranks/nccl_group.cuh>
#include <lamina/kernel/expect.hpp>

/// Small messages go from GPU to GPU in one kernel: each rank writes its values to a slot on the other GPUs and waits
/// until its own slots have no PeerMemory::unwritten left. A word is the sign of its own arrival, so that there are no
/// flags and no fences. Two sets of slots in turns are enough if in every exchange each rank hears from each of the
/// others: who writes for exchange k + 2 has read what they wrote in k + 1, and a GPU writes that, and makes its slots
/// unwritten again, after its kernel for k has ended. NCCL carries what is larger.
///
/// source  one-shot all-reduce without flags: NVIDIA TensorRT-LLM, allReduceFusionKernels (Lamport's buffers)
namespace lamina::kernel::cuda {

using parallel::PeerMemory;
inline constexpr int exchange_threads = 512;

/// The number of a kernel's exchange. All threads call it, once and first.
__device__ inline std::uint32_t next_exchange(const PeerMemory& p) {
  start_in_turn();
  const std::uint32_t number = p.exchanges[blockIdx.x] + 1;
  __syncthreads();  // every thread has read it
  if (threadIdx.x == 0) p.exchanges[blockIdx.x] = number;
  return number;
}
/// A word as it is sent, on the sender too, so that every rank adds the same.
__device__ inline uint4 sendable(uint4 v) {
  const auto word = [](unsigned w) { return w == PeerMemory::unwritten ? 0u : w; };
  return make_uint4(word(v.x), word(v.y), word(v.z), word(v.w));
}
/// Writes piece i of this rank's values to a slot on another GPU.
__device__ inline void send_piece(const PeerMemory& p, int to, std::uint32_t exchange, int i, uint4 v) {
  auto* const there = reinterpret_cast<uint4*>(p.slot(to, p.rank, exchange)) + i;
  asm volatile("st.volatile.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(there), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
/// Piece i of another rank's values, once it is here.
__device__ inline uint4 receive_piece(const PeerMemory& p, int from, std::uint32_t exchange, int i) {
  auto* const here = reinterpret_cast<uint4*>(p.slot(p.rank, from, exchange)) + i;
  constexpr std::uint32_t none = PeerMemory::unwritten;
  uint4 v;
  do
    asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(here)
                 : "memory");
  while (v.x == none || v.y == none || v.z == none || v.w == none);
  *here = make_uint4(none, none, none, none);
  return v;
}
/// The pieces that are this thread's: f(i).
template <class F>
__device__ void for_own_pieces(int pieces, F f) {
  for (int i = blockIdx.x * exchange_threads + threadIdx.x; i < pieces; i += PeerMemory::blocks * exchange_threads)
    f(i);
}
/// Where no values go from one rank to another, a piece of zeros does.
__device__ inline void greet(const PeerMemory& p, int to, std::uint32_t exchange) {
  if (blockIdx.x == 0 && threadIdx.x == 0) send_piece(p, to, exchange, 0, uint4{});
}
__device__ inline void hear(const PeerMemory& p, int from, std::uint32_t exchange) {
  if (blockIdx.x == 0 && threadIdx.x == 0) receive_piece(p, from, exchange, 0);
}

/// RankSum, in pieces; x and y without gaps.
template <class T, bool Adds>
__global__ void __launch_bounds__(exchange_threads) rank_sum(PeerMemory p, T* x, T* y, int pieces) {
  constexpr int n = piece_elements<T>;
  const std::uint32_t number = next_exchange(p);
  const auto mine = [&](int i) { return sendable(reinterpret_cast<const uint4*>(x)[i]); };
  for_own_pieces(pieces, [&](int i) {
    for (int r = 1; r < p.ranks; ++r) send_piece(p, (p.rank + r) % p.ranks, number, i, mine(i));
  });
  for_own_pieces(pieces, [&](int i) {
    T* const at = (Adds ? y : x) + n * i;
    float sum[n] = {}, values[n];
    for (int r = 0; r < p.ranks; ++r) {  // in the order of ranks on every rank
      widen_piece<T>(r == p.rank ? mine(i) : receive_piece(p, r, number, i), values);
      for (int e = 0; e < n; ++e) sum[e] += values[e];
    }
    if constexpr (Adds) {
      load_piece(at, values);
      for (int e = 0; e < n; ++e) sum[e] += values[e];
    }
    store_piece(at, sum);
  });
}
/// RankSumNorm of an RMS norm: a group of threads has a row's sum in registers when it adds the residual stream and
/// norms it. Pieces, Group: RowShare's.
template <class T, int Pieces, int Group>
__global__ void __launch_bounds__(row_threads<Group>) rank_sum_norm(PeerMemory p, NormRowsFwd<T> a) {
  using Share = RowShare<T, Pieces, Group, true>;
  using Values = typename Share::Values;
  const std::uint32_t number = next_exchange(p);
  const int row_pieces = a.width / piece_elements<T>, groups = PeerMemory::blocks * (row_threads<Group> / Group);
  const auto own = [&](const Share& s, int k) { return sendable(s.raw[k]); };
  const auto piece = [&](int n, int k) { return n * row_pieces + Share::column(k) / piece_elements<T>; };
  for (int n = row_of_group<Group>(); n < a.rows; n += groups) {
    Share s;
    s.load(a.s + static_cast<std::size_t>(n) * a.width, a.width);
#pragma unroll
    for (int k = 0; k < Pieces; ++k)
      if (Share::column(k) < a.width)
        for (int r = 1; r < p.ranks; ++r) send_piece(p, (p.rank + r) % p.ranks, number, piece(n, k), own(s, k));
  }
  Share g;
  g.load(a.g, a.width);
  for (int n = row_of_group<Group>(); n < a.rows; n += groups) {
    const std::size_t at = static_cast<std::size_t>(n) * a.width;
    Share s, x;
    s.load(a.s + at, a.width), x.load(a.x + at, a.width);
    float squares = 0;
#pragma unroll
    for (int k = 0; k < Pieces; ++k) {
      if (Share::column(k) >= a.width) continue;
      Values sum = {}, values;
      for (int r = 0; r < p.ranks; ++r) {  // in the order of ranks on every rank
        widen_piece<T>(r == p.rank ? own(s, k) : receive_piece(p, r, number, piece(n, k)), values);
#pragma unroll
        for (int e = 0; e < Share::each; ++e) sum[e] += values[e];
      }
      x.get(k, values);
#pragma unroll
      for (int e = 0; e < Share::each; ++e) sum[e] += values[e];
      s.set(k, sum);
      s.get(k, values);  // as stored
#pragma unroll
      for (int e = 0; e < Share::each; ++e) squares += values[e] * values[e];
    }
    s.store(a.s + at, a.width);
    const float r = 1 / sqrtf(group_sum<Group>(squares) / static_cast<float>(a.width) + a.eps);
    if (a.r && threadIdx.x % Group == 0) a.r[n] = r;
#pragma unroll
    for (int k = 0; k < Pieces; ++k) {
      Values v, gain;
      s.get(k, v), g.get(k, gain);
#pragma unroll
      for (int e = 0; e < Share::each; ++e) v[e] = gain[e] * (v[e] * r);
      s.set(k, v);
    }
    s.store(a.y + n * a.y_stride, a.width);
  }
}
/// RankGather: rows of `width` pieces from each rank.
template <class T>
__global__ void __launch_bounds__(exchange_threads) rank_gather(PeerMemory p, const T* x, T* y, int rows, int width) {
  const std::uint32_t number = next_exchange(p);
  const auto mine = [&](int i) { return reinterpret_cast<const uint4*>(x)[i]; };
  for (int r = 1; r < p.ranks; ++r)
    if (r != p.rank) greet(p, r, number);
  if (p.rank != 0) {
    for_own_pieces(rows * width, [&](int i) { send_piece(p, 0, number, i, sendable(mine(i))); });
    for (int r = 0; r < p.ranks; ++r)
      if (r != p.rank) hear(p, r, number);
    return;
  }
  for_own_pieces(rows * width, [&](int i) {
    for (int r = 0; r < p.ranks; ++r)
      reinterpret_cast<uint4*>(y)[(static_cast<std::int64_t>(i / width) * p.ranks + r) * width + i % width] =
          r == 0 ? mine(i) : receive_piece(p, r, number, i);
  });
}
/// RankBroadcast, in pieces.
static __global__ void __launch_bounds__(exchange_threads) rank_broadcast(PeerMemory p, uint4* values, int pieces) {
  const std::uint32_t number = next_exchange(p);
  if (p.rank == 0)
    for_own_pieces(pieces, [&](int i) {
      for (int r = 1; r < p.ranks; ++r) send_piece(p, r, number, i, values[i]);
    });
  else
    for (int r = 0; r < p.ranks; ++r)
      if (r != p.rank) greet(p, r, number);
  for (int r = 1; r < p.ranks; ++r)
    if (r != p.rank) hear(p, r, number);
  if (p.rank != 0) for_own_pieces(pieces, [&](int i) { values[i] = receive_piece(p, 0, number, i); });
}

/// The memory through which so many bytes at these addresses go; null: they are for NCCL.
inline const PeerMemory* peers_for(Stream<Cuda> s, std::size_t bytes, const void* a, const void* b = nullptr) {
  const PeerMemory* const peers = parallel::ranks_of(s).peers();
  return peers && bytes <= peers->slot_bytes && bytes % 16 == 0 && is_aligned(a) && is_aligned(b) ? peers : nullptr;
}

/// The same for a sum of so many bytes.
inline const PeerMemory* peers_for_sum(Stream<Cuda> s, std::size_t bytes, const void* a, const void* b) {
  const PeerMemory* const peers = peers_for(s, bytes, a, b);
  return peers && bytes <= PeerMemory::most_sum_bytes(peers->ranks) ? peers : nullptr;
}

template <class... P, class... A>
void launch_exchange(Stream<Cuda> s, void (*kernel)(P...), A... arguments) {
  launch_dependent(s, kernel, PeerMemory::blocks, exchange_threads, arguments...);
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void across_ranks<Cuda>::sum(Stream<Cuda> s, const RankSum<T>& a) {
  detail::expect_packed("across_ranks: x", a.x);
  const auto values = elements_of(a.x);
  const bool packed = !a.y || a.y.stride == a.y.cols;
  const parallel::PeerMemory* const p = cuda::peers_for_sum(s, values.size_bytes(), a.x.data, a.y.data);
  if (!p || !packed) {
    parallel::ranks_of(s).all_reduce(s, values);
    if (a.y) add<Cuda>::forward(s, Add<T>{.x = a.x, .y = a.y});
    return;
  }
  const auto kernel = a.y ? cuda::rank_sum<T, true> : cuda::rank_sum<T, false>;
  cuda::launch_exchange(s, kernel, *p, a.x.data, a.y.data, static_cast<int>(values.size_bytes() / 16));
  cuda::check_launch("rank_sum");
}

template <class T>
void across_ranks<Cuda>::sum_norm(Stream<Cuda> s, const RankSumNorm<T>& a) {
  const NormRowsFwd<T>& norm = a.norm;
  const Matrix<T> sum{norm.s, norm.rows, norm.width};
  const parallel::PeerMemory* const p = cuda::peers_for_sum(s, elements_of(sum).size_bytes(), norm.s, norm.x);
  if (!p || norm.centred || !cuda::rows_in_pieces(norm)) {
    across_ranks<Cuda>::sum(s, RankSum<T>{.x = sum, .y = {}});
    return norm_rows<Cuda>::forward(s, norm);
  }
  cuda::with_row_share<T>(norm.width, true, [&]<int Pieces, int Group, bool Whole>() {
    if constexpr (Whole)
      cuda::launch_dependent(s, cuda::rank_sum_norm<T, Pieces, Group>, parallel::PeerMemory::blocks,
                             cuda::row_threads<Group>, *p, norm);
  });
  cuda::check_launch("rank_sum_norm");
}

template <class T>
void across_ranks<Cuda>::gather(Stream<Cuda> s, const RankGather<T>& a) {
  parallel::DeviceGroup<Cuda>& ranks = parallel::ranks_of(s);
  const auto mine = std::as_bytes(elements_of(a.x));
  const std::size_t row_bytes = sizeof(T) * static_cast<std::size_t>(a.x.cols);
  if (const parallel::PeerMemory* const p = cuda::peers_for(s, mine.size(), a.x.data, a.y.data);
      p && row_bytes % 16 == 0) {
    cuda::launch_exchange(s, cuda::rank_gather<T>, *p, a.x.data, a.y.data, a.x.rows, static_cast<int>(row_bytes / 16));
    return cuda::check_launch("rank_gather");
  }
  if (a.y.rows <= 1) return ranks.all_gather(s, mine, std::as_writable_bytes(elements_of(a.y)));
  Arena::Scope scope(*s.scratch);
  const Matrix<T> all(reinterpret_cast<T*>(s.scratch->take<std::byte>(workspace_bytes(a))), ranks.size() * a.x.rows,
                      a.x.cols);
  ranks.all_gather(s, mine, std::as_writable_bytes(elements_of(all)));
  for (int rank = 0; rank < ranks.size(); ++rank)
    add<Cuda>::copy(s,
                    Add<T>{.x = all.row_range(rank * a.x.rows, a.x.rows), .y = a.y.columns(rank * a.x.cols, a.x.cols)});
}

}  // namespace lamina::kernel

[[gnu::used]] inline void lamina::kernel::across_ranks<lamina::Cuda>::broadcast(Stream<Cuda> s,
                                                                                const RankBroadcast& a) {
  const std::size_t bytes = sizeof(int) * static_cast<std::size_t>(a.count);
  if (const parallel::PeerMemory* const p = cuda::peers_for(s, bytes, a.values)) {
    cuda::launch_exchange(s, cuda::rank_broadcast, *p, reinterpret_cast<uint4*>(a.values),
                          static_cast<int>(bytes / 16));
    return cuda::check_launch("rank_broadcast");
  }
  parallel::ranks_of(s).broadcast(s, std::as_writable_bytes(std::span(a.values, static_cast<std::size_t>(a.count))), 0);
}
