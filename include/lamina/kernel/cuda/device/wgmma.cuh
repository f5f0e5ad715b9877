#pragma once
#include <lamina/kernel/cuda/device/mma.cuh>

/// Tensor cores of sm_90a: wgmma.m64nNk16 of a warpgroup (4 warps), operands in shared memory, sums in registers.
///
/// A warp holds 16 of the 64 rows as mma.m16n8k16 would leave them: c[0][n][4] is columns 8 n .. of its rows g, g+8.
/// Tiles are panels of 64 columns, rows of 128 bytes, swizzled as SharedTile<64> (wgmma's 128-byte swizzle), at
/// multiples of 1024 bytes. source: PTX ISA 8.8, section 9.7.15
namespace lamina::kernel::cuda {

inline constexpr int warpgroup_size = 4 * warp_size;

/// wgmma exists if code is compiled for sm_90a; elsewhere kernels that use it are empty and never launched.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LAMINA_WGMMA_ASM(...) asm volatile(__VA_ARGS__)
#else
#define LAMINA_WGMMA_ASM(...)
#endif

__device__ inline void wgmma_fence() { LAMINA_WGMMA_ASM("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { LAMINA_WGMMA_ASM("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most Pending of the committed groups are under way.
template <int Pending>
__device__ void wgmma_wait() {
  LAMINA_WGMMA_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
/// Before a barrier: after it wgmma sees what this thread has written to shared memory.
__device__ inline void publish_to_wgmma() { LAMINA_WGMMA_ASM("fence.proxy.async.shared::cta;" ::: "memory"); }

/// A tile (Rows, Columns) in panels of 64 columns. Its operands are named by their starts.
template <int Rows, int Columns>
struct PanelTile {
  static_assert(Columns % 64 == 0 && Rows % 8 == 0);
  static constexpr int panel_bytes = Rows * 128, bytes = Columns / 64 * panel_bytes;
  unsigned base;

  __device__ unsigned panel(int p) const { return base + p * panel_bytes; }
  __device__ unsigned at(int row, int chunk) const { return SharedTile<64>::at(panel(chunk / 8), row, chunk % 8); }

  /// Summed along rows: rows from `row`, columns 16 step .. 16 step + 15.
  __device__ std::uint64_t along_rows(int row, int step) const {
    return descriptor(panel(step / 4) + row * 128 + step % 4 * 32);
  }
  /// Summed down columns: columns from `column`, rows 16 step .. 16 step + 15.
  __device__ std::uint64_t down_columns(int column, int step) const {
    return descriptor(panel(column / 64) + column % 64 * 2 + step * 16 * 128);
  }

 private:
  /// Swizzle of 128 bytes; 8 rows are 1024 bytes away from the next 8, a panel panel_bytes from the next.
  static __device__ std::uint64_t descriptor(unsigned address) {
    constexpr std::uint64_t shape =
        std::uint64_t{panel_bytes >> 4} << 16 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
    return shape | (address & 0x3ffffu) >> 4;
  }
};

#define LAMINA_C1(n) "+f"(c[0][n][0]), "+f"(c[0][n][1]), "+f"(c[0][n][2]), "+f"(c[0][n][3])
#define LAMINA_C4(n) LAMINA_C1(n), LAMINA_C1(n + 1), LAMINA_C1(n + 2), LAMINA_C1(n + 3)
#define LAMINA_C8(n) LAMINA_C4(n), LAMINA_C4(n + 4)
#define LAMINA_R16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                               \
  "%" #a ",%" #b ",%" #c ",%" #d ",%" #e ",%" #f ",%" #g ",%" #h ",%" #i ",%" #j ",%" #k ",%" #l ",%" #m ",%" #n \
  ",%" #o ",%" #p
#define LAMINA_R0 LAMINA_R16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define LAMINA_R1 LAMINA_R16(16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)
#define LAMINA_R2 LAMINA_R16(32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47)
#define LAMINA_R3 LAMINA_R16(48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63)

/// c = a b or, if `accumulate`, c += a b, both in shared memory. ATransposed, BTransposed: summed down columns.
template <class T, bool ATransposed, bool BTransposed, int N>
__device__ void wgmma(float (&c)[1][N][4], std::uint64_t a, std::uint64_t b, bool accumulate) {
#define LAMINA_WGMMA(size, type, registers, operands, a_at, b_at, p_at, ta_at, tb_at)                                  \
  LAMINA_WGMMA_ASM("{.reg .pred p; setp.ne.b32 p, %" #p_at ", 0; wgmma.mma_async.sync.aligned.m64n" #size              \
                   "k16.f32." type "." type " {" registers "}, %" #a_at ", %" #b_at ", p, 1, 1, %" #ta_at ", %" #tb_at \
                   ";}"                                                                                                \
                   : operands                                                                                          \
                   : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(int(ATransposed)), "n"(int(BTransposed)))
#define LAMINA_WGMMA_SIZES(type)                                                                    \
  if constexpr (N == 4) {                                                                           \
    LAMINA_WGMMA(32, type, LAMINA_R0, LAMINA_LIST(LAMINA_C4(0)), 16, 17, 18, 19, 20);               \
  } else if constexpr (N == 8) {                                                                    \
    LAMINA_WGMMA(64, type, LAMINA_R0 "," LAMINA_R1, LAMINA_LIST(LAMINA_C8(0)), 32, 33, 34, 35, 36); \
  } else {                                                                                          \
    static_assert(N == 16, "wgmma: 32, 64 or 128 columns");                                         \
    LAMINA_WGMMA(128, type, LAMINA_R0 "," LAMINA_R1 "," LAMINA_R2 "," LAMINA_R3,                    \
                 LAMINA_LIST(LAMINA_C8(0), LAMINA_C8(8)), 64, 65, 66, 67, 68);                      \
  }
#define LAMINA_LIST(...) __VA_ARGS__
  if constexpr (std::is_same_v<T, bf16>) {
    LAMINA_WGMMA_SIZES("bf16")
  } else {
    LAMINA_WGMMA_SIZES("f16")
  }
#undef LAMINA_WGMMA
}

/// c += a b, a in registers as mma takes it.
template <class T, bool BTransposed, int N>
__device__ void wgmma(float (&c)[1][N][4], const unsigned (&a)[4], std::uint64_t b) {
#define LAMINA_WGMMA(size, type, registers, operands, a0, a1, a2, a3, b_at, tb_at)                               \
  LAMINA_WGMMA_ASM("wgmma.mma_async.sync.aligned.m64n" #size "k16.f32." type "." type " {" registers "}, {%" #a0 \
                   ",%" #a1 ",%" #a2 ",%" #a3 "}, %" #b_at ", 1, 1, 1, %" #tb_at ";"                             \
                   : operands                                                                                    \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(BTransposed)))
#undef LAMINA_WGMMA_SIZES
#define LAMINA_WGMMA_SIZES(type)                                                                        \
  if constexpr (N == 8) {                                                                               \
    LAMINA_WGMMA(64, type, LAMINA_R0 "," LAMINA_R1, LAMINA_LIST(LAMINA_C8(0)), 32, 33, 34, 35, 36, 37); \
  } else {                                                                                              \
    static_assert(N == 16, "wgmma: 64 or 128 columns");                                                 \
    LAMINA_WGMMA(128, type, LAMINA_R0 "," LAMINA_R1 "," LAMINA_R2 "," LAMINA_R3,                        \
                 LAMINA_LIST(LAMINA_C8(0), LAMINA_C8(8)), 64, 65, 66, 67, 68, 69);                      \
  }
  if constexpr (std::is_same_v<T, bf16>) {
    LAMINA_WGMMA_SIZES("bf16")
  } else {
    LAMINA_WGMMA_SIZES("f16")
  }
}

#undef LAMINA_WGMMA
#undef LAMINA_WGMMA_SIZES
#undef LAMINA_LIST
#undef LAMINA_C1
#undef LAMINA_C4
#undef LAMINA_C8
#undef LAMINA_R16
#undef LAMINA_R0
#undef LAMINA_R1
#undef LAMINA_R2
#undef LAMINA_R3
#undef LAMINA_WGMMA_ASM

}  // namespace lamina::kernel::cuda
