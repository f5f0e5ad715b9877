#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include <lamina/core/arena.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/kernel/cuda/device/device.hpp>

/// What CUDA kernels share: checked calls, rows of 16-byte pieces, sums over warps and blocks.
namespace lamina::kernel::cuda {

/// Error if a CUDA call failed.
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    fail("CUDA: ", what, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
}
/// After every launch: Error if the launch itself was refused.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

/// Allows a kernel more than 48 KiB of shared memory.
template <class Kernel>
void allow_shared(Kernel* kernel, int bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "shared memory of a block");
}

inline constexpr int warp_size = 32;
inline constexpr float log2_e = 1.4426950408889634f, ln_2 = 0.6931471805599453f;
constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The type that device arithmetic has for an element.
template <class T>
struct Native;
template <>
struct Native<float> {
  using type = float;
};
template <>
struct Native<bf16> {
  using type = __nv_bfloat16;
};
template <>
struct Native<f16> {
  using type = __half;
};

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ inline float widen(f16 x) { return __half2float(__ushort_as_half(x.bits)); }
template <class T>
__device__ T narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 narrow<bf16>(float x) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}
template <>
__device__ inline f16 narrow<f16>(float x) {
  return {__half_as_ushort(__float2half_rn(x))};
}

/// A 16-byte piece of a row: 8 half-precision or 4 fp32 elements.
template <class T>
inline constexpr int piece_elements = 16 / static_cast<int>(sizeof(T));
/// Whether 16-byte accesses may start here.
inline bool is_aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }
/// Whether they may start at each row.
template <class T>
bool in_pieces(const Matrix<T>& m) {
  return is_aligned(m.data) && m.stride * sizeof(T) % 16 == 0;
}

/// The elements of a piece, to the piece_elements<T> floats at to.
template <class T>
__device__ void widen_piece(uint4 raw, float* to) {
  const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
  if constexpr (sizeof(T) == 4) {
    for (int i = 0; i < 4; ++i) to[i] = __uint_as_float(words[i]);
  } else {
    for (int i = 0; i < 4; ++i) {
      to[2 * i] = widen(T{static_cast<std::uint16_t>(words[i] & 0xffffu)});
      to[2 * i + 1] = widen(T{static_cast<std::uint16_t>(words[i] >> 16)});
    }
  }
}
template <class T>
__device__ uint4 narrow_piece(const float* from) {
  unsigned words[4];
  if constexpr (sizeof(T) == 4) {
    for (int i = 0; i < 4; ++i) words[i] = __float_as_uint(from[i]);
  } else {
    for (int i = 0; i < 4; ++i)
      words[i] = narrow<T>(from[2 * i]).bits | static_cast<unsigned>(narrow<T>(from[2 * i + 1]).bits) << 16;
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}
template <class T>
__device__ void load_piece(const T* from, float (&to)[piece_elements<T>]) {
  widen_piece<T>(*reinterpret_cast<const uint4*>(from), to);
}
template <class T>
__device__ void store_piece(T* to, const float (&from)[piece_elements<T>]) {
  *reinterpret_cast<uint4*>(to) = narrow_piece<T>(from);
}

__device__ inline float warp_sum(float x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}
/// The sum over a block of Threads threads, the same in each of them; always added up in the same order.
template <int Threads>
__device__ float block_sum(float x) {
  static_assert(Threads % warp_size == 0 && Threads <= 1024);
  __shared__ float part[Threads / warp_size];
  x = warp_sum(x);
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < Threads / warp_size; ++w) sum += part[w];
  __syncthreads();  // the next call writes part again
  return sum;
}

}  // namespace lamina::kernel::cuda
