#pragma once
#include <lamina/core/arena.hpp>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/elementwise/add.cuh>
#include <lamina/kernel/cuda/ranks/across_ranks.hpp>
#include <lamina/kernel/cuda/ranks/nccl_group.cuh>
#include <lamina/kernel/expect.hpp>

/// Small messages go from GPU to GPU in one kernel: each rank writes its values to a slot on every other GPU, says so
/// with a flag, waits for the flags of the others, and works on what is in its own memory then. A block exchanges with
/// the block of the same number, whose share of the values is the same. Two sets of slots in turns are enough: who
/// writes for exchange k + 2 has seen every flag of k + 1, and a GPU sends that after its kernel for k has ended.
/// NCCL carries what is larger.
///
/// source  one-shot all-reduce: NVIDIA TensorRT-LLM, customAllReduceKernels; memory order: PTX ISA 8.8, section 8
namespace lamina::kernel::cuda {

using parallel::PeerMemory;
inline constexpr int exchange_threads = 512;

__device__ inline void set_flag(std::uint32_t* there, std::uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(there), "r"(value) : "memory");
}
/// Until it has this value, or a later one: the other rank may be an exchange ahead.
__device__ inline void await_flag(const std::uint32_t* here, std::uint32_t value) {
  std::uint32_t seen;
  do asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(seen) : "l"(here) : "memory");
  while (static_cast<int>(seen - value) < 0);
}
/// Piece i of what a rank has sent to this GPU.
__device__ inline uint4 sent_piece(const std::byte* slot, int i) {
  return __ldcg(reinterpret_cast<const uint4*>(slot) + i);  // past the L1 cache, which peers' writes do not reach
}

/// Writes this rank's pieces to the other GPUs and returns the number of the exchange once theirs are here. All threads
/// of all blocks call it once in a kernel.
__device__ inline std::uint32_t exchange(const PeerMemory& p, const uint4* mine, int pieces) {
  start_in_turn();
  const std::uint32_t number = p.exchanges[blockIdx.x] + 1;
  for (int r = 1; r < p.ranks; ++r) {
    const int to = (p.rank + r) % p.ranks;
    uint4* const there = reinterpret_cast<uint4*>(p.slot(to, p.rank, number));
    for (int i = blockIdx.x * exchange_threads + threadIdx.x; i < pieces; i += PeerMemory::blocks * exchange_threads)
      there[i] = mine[i];
  }
  __threadfence_system();
  __syncthreads();
  const int other = threadIdx.x;
  if (other < p.ranks && other != p.rank) {
    set_flag(p.flag(other, p.rank, blockIdx.x), number);
    await_flag(p.flag(p.rank, other, blockIdx.x), number);
  }
  __syncthreads();
  if (threadIdx.x == 0) p.exchanges[blockIdx.x] = number;
  return number;
}

/// RankSum, in pieces; x and y without gaps.
template <class T, bool Adds>
__global__ void __launch_bounds__(exchange_threads) rank_sum(PeerMemory p, T* x, T* y, int pieces) {
  constexpr int n = piece_elements<T>;
  const std::uint32_t number = exchange(p, reinterpret_cast<const uint4*>(x), pieces);
  for (int i = blockIdx.x * exchange_threads + threadIdx.x; i < pieces; i += PeerMemory::blocks * exchange_threads) {
    T* const at = (Adds ? y : x) + n * i;
    float sum[n] = {}, values[n];
    for (int r = 0; r < p.ranks; ++r) {  // in the order of ranks on every rank
      widen_piece<T>(r == p.rank ? reinterpret_cast<const uint4*>(x)[i] : sent_piece(p.slot(p.rank, r, number), i),
                     values);
      for (int e = 0; e < n; ++e) sum[e] += values[e];
    }
    if constexpr (Adds) {
      load_piece(at, values);
      for (int e = 0; e < n; ++e) sum[e] += values[e];
    }
    store_piece(at, sum);
  }
}
/// RankGather: rows of `width` pieces from each rank.
template <class T>
__global__ void __launch_bounds__(exchange_threads) rank_gather(PeerMemory p, const T* x, T* y, int rows, int width) {
  const std::uint32_t number = exchange(p, reinterpret_cast<const uint4*>(x), rows * width);
  for (int r = 0; r < p.ranks; ++r)
    for (int i = blockIdx.x * exchange_threads + threadIdx.x; i < rows * width;
         i += PeerMemory::blocks * exchange_threads)
      reinterpret_cast<uint4*>(y)[(static_cast<std::int64_t>(i / width) * p.ranks + r) * width + i % width] =
          r == p.rank ? reinterpret_cast<const uint4*>(x)[i] : sent_piece(p.slot(p.rank, r, number), i);
}
/// RankBroadcast, in pieces.
template <int Threads>
__global__ void __launch_bounds__(Threads) rank_broadcast(PeerMemory p, uint4* values, int pieces) {
  const std::uint32_t number = exchange(p, values, p.rank == 0 ? pieces : 0);
  if (p.rank == 0) return;
  for (int i = blockIdx.x * Threads + threadIdx.x; i < pieces; i += PeerMemory::blocks * Threads)
    values[i] = sent_piece(p.slot(p.rank, 0, number), i);
}

/// The memory through which so many bytes at these addresses go; null: they are for NCCL.
inline const PeerMemory* peers_for(Stream<Cuda> s, std::size_t bytes, const void* a, const void* b = nullptr) {
  const PeerMemory* const peers = parallel::ranks_of(s).peers();
  return peers && bytes <= peers->slot_bytes && bytes % 16 == 0 && is_aligned(a) && is_aligned(b) ? peers : nullptr;
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
  const parallel::PeerMemory* const p = cuda::peers_for(s, values.size_bytes(), a.x.data, a.y.data);
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
    cuda::launch_exchange(s, cuda::rank_broadcast<cuda::exchange_threads>, *p, reinterpret_cast<uint4*>(a.values),
                          static_cast<int>(bytes / 16));
    return cuda::check_launch("rank_broadcast");
  }
  parallel::ranks_of(s).broadcast(s, std::as_writable_bytes(std::span(a.values, static_cast<std::size_t>(a.count))), 0);
}
