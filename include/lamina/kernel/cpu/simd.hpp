#pragma once
#include <lamina/core/tensor/dtype.hpp>

#if defined(__x86_64__)
#include <immintrin.h>
#define LAMINA_X86 1
#define LAMINA_AVX2 [[gnu::target("avx2,fma,f16c")]]
#define LAMINA_AVX512 [[gnu::target("avx2,fma,f16c,avx512f,avx512bw,avx512vl")]]
#define LAMINA_AVX512_BF16 [[gnu::target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512bf16")]]
#else
#define LAMINA_X86 0
#endif

/// What the running CPU can do. A program built for any x86-64 carries each variant of the heavy kernels and picks one
/// when it first needs it, so one binary is fast everywhere.
namespace lamina::kernel::detail {

enum class Isa { plain, avx2, avx512, avx512_bf16 };

inline bool cpu_supports(Isa isa) {
#if LAMINA_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");  // such CPUs all have F16C
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::plain:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
  }
#endif
  return isa == Isa::plain;
}

#if LAMINA_X86
/// Eight consecutive elements as fp32.
LAMINA_AVX2 inline __m256 load8(const float* p) { return _mm256_loadu_ps(p); }
LAMINA_AVX2 inline __m256 load8(const bf16* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
LAMINA_AVX2 inline __m256 load8(const f16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
#endif

}  // namespace lamina::kernel::detail
