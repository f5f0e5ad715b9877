#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#define LAMINA_VISION_AVX2 [[gnu::target("avx2")]]
#endif

namespace lamina::vision::detail {

/// Whether this CPU runs the AVX2 variants. Their results equal the plain loops' to the last bit.
inline bool has_avx2() {
#if defined(LAMINA_VISION_AVX2)
  static const bool value = __builtin_cpu_supports("avx2");
  return value;
#else
  return false;
#endif
}

}  // namespace lamina::vision::detail
