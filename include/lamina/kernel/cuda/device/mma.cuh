#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>

/// Tensor cores of sm_80 and newer on 16-bit tiles in shared memory: asynchronous copies, ldmatrix, mma.m16n8k16.
///
/// Fragments (lane = 4 g + t):  A (16x16): rows g and g+8, columns 2t, 2t+1 and 2t+8, 2t+9, as {g low, g+8 low, g high,
/// g+8 high}; B (16x8): column g, rows 2t, 2t+1 and 2t+8, 2t+9; C (16x8): elements 0, 1 are row g, columns 2t, 2t+1;
/// elements 2, 3 are row g+8. source: PTX ISA 8.0, "Matrix Fragments for mma.m16n8k16"
namespace lamina::kernel::cuda {

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ inline unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

/// Starts copying 16 bytes to shared memory; if not wanted, zeros, and `from` is not read.
__device__ inline void copy_async(unsigned to, const void* from, bool wanted) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
/// The same for 4 bytes.
__device__ inline void copy_async_word(unsigned to, const void* from, bool wanted) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(wanted ? 4 : 0) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most Pending of this thread's groups are under way.
template <int Pending>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

/// 2^x to about 2 ulp; 0 if that is below 2^-126.
__device__ inline float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two elements in one register, the first in the low half.
template <class T>
__device__ unsigned pack(float low, float high);
template <>
__device__ inline unsigned pack<bf16>(float low, float high) {
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
template <>
__device__ inline unsigned pack<f16>(float low, float high) {
  unsigned r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

/// c += a b.
template <class T>
__device__ void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  if constexpr (std::is_same_v<T, bf16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    static_assert(std::is_same_v<T, f16>, "mma: bf16 or f16");
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

/// Four 8x8 blocks; lane l names a row of block l / 8.
template <bool Transposed>
__device__ void load_blocks(unsigned (&r)[4], unsigned address) {
  if constexpr (Transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}

/// Rows of Width 16-bit elements in shared memory. Rows of whole 128 bytes exchange their 16-byte chunks (chunk c of
/// row r is at c ^ r % 8), others are padded to an odd number of chunks: either way the eight rows that ldmatrix
/// reads together are in different banks. A tile starts at a multiple of 256 bytes.
template <int Width>
struct SharedTile {
  static_assert(Width % 16 == 0);
  static constexpr int chunks = Width / 8;
  static constexpr bool swizzled = chunks % 8 == 0;
  static constexpr int row_bytes = (swizzled ? chunks : chunks | 1) * 16;
  static constexpr int bytes(int rows) { return rows * row_bytes; }

  static __device__ unsigned at(unsigned tile, int row, int chunk) {
    return tile + row * row_bytes + ((swizzled ? chunk ^ (row % 8) : chunk) << 4);
  }
  /// An even number of chunks ahead in the row; the chunk at `address` has none of the bits of `count`.
  static __device__ unsigned ahead(unsigned address, int count) {
    return swizzled ? address ^ (count << 4) : address + (count << 4);
  }
};

/// A window of a tile as an operand of mma, in blocks of 16x16: load(f, i, step) is block i along the product's own
/// axis (m or n), `step` along the axis that is summed.
template <int Width, bool Transposed>
struct Operand {
  unsigned lane;  ///< this lane's row of the first block
  __device__ void load(unsigned (&f)[4], int i, int step) const {
    using Tile = SharedTile<Width>;
    if constexpr (Transposed)
      load_blocks<true>(f, Tile::ahead(lane, 2 * i) + step * 16 * Tile::row_bytes);
    else
      load_blocks<false>(f, Tile::ahead(lane, 2 * step) + i * 16 * Tile::row_bytes);
  }
};
namespace detail {
template <int Width>
__device__ unsigned blocks_down(unsigned tile, int row, int chunk) {  // (0,0) (8,0) (0,8) (8,8)
  return SharedTile<Width>::at(tile, row + lane_id() % 16, chunk + lane_id() / 16);
}
template <int Width>
__device__ unsigned blocks_across(unsigned tile, int row, int chunk) {  // (0,0) (0,8) (8,0) (8,8)
  return SharedTile<Width>::at(tile, row + lane_id() / 16 * 8 + lane_id() % 8, chunk + lane_id() / 8 % 2);
}
}  // namespace detail
/// Stored as (m, k).
template <int Width>
__device__ Operand<Width, false> operand_a(unsigned tile, int row, int chunk = 0) {
  return {detail::blocks_down<Width>(tile, row, chunk)};
}
/// Stored as (k, m).
template <int Width>
__device__ Operand<Width, true> operand_a_transposed(unsigned tile, int row, int chunk) {
  return {detail::blocks_across<Width>(tile, row, chunk)};
}
/// Stored as (n, k); a block holds two fragments.
template <int Width>
__device__ Operand<Width, false> operand_b(unsigned tile, int row, int chunk = 0) {
  return {detail::blocks_across<Width>(tile, row, chunk)};
}
/// Stored as (k, n).
template <int Width>
__device__ Operand<Width, true> operand_b_transposed(unsigned tile, int row, int chunk) {
  return {detail::blocks_down<Width>(tile, row, chunk)};
}

/// What mma left in registers, rounded to T, as the A operand of the next product.
template <class T, int M, int N>
struct RegisterOperand {
  const float (&c)[M][N][4];
  __device__ void load(unsigned (&f)[4], int i, int step) const {
    const float(&left)[4] = c[i][2 * step], (&right)[4] = c[i][2 * step + 1];
    f[0] = pack<T>(left[0], left[1]);
    f[1] = pack<T>(left[2], left[3]);
    f[2] = pack<T>(right[0], right[1]);
    f[3] = pack<T>(right[2], right[3]);
  }
};

/// c += a b over Steps blocks of 16. Where N is odd, the last block of b is half used.
template <class T, int Steps, int M, int N, class A, class B>
__device__ void multiply(float (&c)[M][N][4], const A& a, const B& b) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    unsigned fa[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) a.load(fa[m], m, step);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      unsigned fb[4];
      b.load(fb, n / 2, step);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        mma<T>(c[m][n], fa[m], fb[0], fb[1]);
        if (n + 1 < N) mma<T>(c[m][n + 1], fa[m], fb[2], fb[3]);
      }
    }
  }
}

template <int M, int N>
__device__ void clear(float (&c)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0;
  }
}

}  // namespace lamina::kernel::cuda
