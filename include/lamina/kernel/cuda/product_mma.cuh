#pragma once
#include <lamina/kernel/cuda/launch.cuh>

/// The tensor cores' 16 x 8 x 16 product of half-precision fragments with fp32 sums, and what feeds it.
///
/// layout   lane = 4 g + t. a: rows g and g+8, columns 2t, 2t+1 and 2t+8, 2t+9, as {g lo, g+8 lo, g hi, g+8 hi};
///          b: column g, rows 2t, 2t+1 and 2t+8, 2t+9; d: rows g (d0, d1) and g+8 (d2, d3), columns 2t, 2t+1
/// source   PTX ISA 8.0, "Matrix Fragments for mma.m16n8k16"
namespace lamina::kernel::cuda {

template <class T>
__device__ void mma_16x8x16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  if constexpr (std::is_same_v<T, bf16>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Four (two) 8 x 8 blocks of 2-byte elements from shared memory, transposed: lane i names row i % 8 of block i / 8.
__device__ inline void load_transposed(unsigned (&to)[4], const void* row) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}

/// Starts to copy 16 bytes to shared memory; where not wanted, zeros are written.
__device__ inline void copy_async(void* to, const void* from, bool wanted) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most Pending of the latest groups are under way.
template <int Pending>
__device__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

/// Reads 16 bytes that are read once: they pass by L1.
__device__ inline uint4 load_once(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/// Whether rows can be read in 16-byte pieces.
template <class T>
bool in_pieces(const Matrix<T>& m) {
  return reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0 && m.stride * sizeof(T) % 16 == 0;
}

}  // namespace lamina::kernel::cuda
