#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>

namespace lamina::kernel::cuda {

/// Shared memory of the blocks of a cluster, and their meeting in two halves: what a block has written anywhere before
/// it arrives, those see that have waited.
struct Cluster {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LAMINA_CLUSTER_ASM(...) asm volatile(__VA_ARGS__)
#else
#define LAMINA_CLUSTER_ASM(...)
#endif
  __device__ static void arrive() { LAMINA_CLUSTER_ASM("barrier.cluster.arrive.aligned;" ::: "memory"); }
  /// The same for a block whose writes nobody is to see: it has read what it wanted.
  __device__ static void arrive_having_read() {
    LAMINA_CLUSTER_ASM("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  }
  __device__ static void wait() { LAMINA_CLUSTER_ASM("barrier.cluster.wait.aligned;" ::: "memory"); }
  /// The same place in the shared memory of block `rank`.
  __device__ static unsigned in_block(unsigned address, int rank) {
    unsigned there = address;
    LAMINA_CLUSTER_ASM("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
  }
  /// Four floats of a block's shared memory; `there` is of in_block.
  __device__ static float4 load(unsigned there) {
    float4 r{};
    LAMINA_CLUSTER_ASM("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                       : "=f"(r.x), "=f"(r.y), "=f"(r.z), "=f"(r.w)
                       : "r"(there)
                       : "memory");
    return r;
  }
  /// Stores to a block's shared memory.
  __device__ static void store(unsigned there, unsigned long long value) {
    LAMINA_CLUSTER_ASM("st.shared::cluster.u64 [%0], %1;" ::"r"(there), "l"(value) : "memory");
  }
  /// Copies bytes, a multiple of 16, from this block's shared memory to that of a block; its barrier counts them.
  __device__ static void send(unsigned there, unsigned from, int bytes, unsigned barrier_there) {
    LAMINA_CLUSTER_ASM(
        "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(there),
        "r"(from), "r"(bytes), "r"(barrier_there)
        : "memory");
  }
#undef LAMINA_CLUSTER_ASM
};

}  // namespace lamina::kernel::cuda
