#pragma once
#include <lamina/core/arena.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/simd.hpp>

#include <algorithm>
#include <chrono>
#include <span>

/// What this machine can do at most, measured once a run: the roofs against which kernels are judged.
namespace lamina::testing {

/// Best of several timings, in seconds: the others were disturbed.
template <class F>
double best_seconds(int times, F f) {
  double best = 1e30;
  for (int i = 0; i < times; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// Keeps a value that nobody reads from being optimised away.
template <class T>
void keep(T& value) {
  asm volatile("" : "+m"(value) : : "memory");
}

/// n values in memory as models have it: in large pages, if the system has them.
template <class T>
struct LargePages {
  explicit LargePages(std::size_t n) : arena(n * sizeof(T)), values(arena.take<T>(n), n) {}
  Arena arena;
  std::span<T> values;
};

/// 256 MB, far beyond the last-level cache.
inline std::span<float> large_buffer() {
  static const LargePages<float> block = [] {
    LargePages<float> ones(std::size_t{64} << 20);
    std::fill(ones.values.begin(), ones.values.end(), 1.0f);
    return ones;
  }();
  return block.values;
}

/// Seconds in which all threads read the buffer once, each in so many streams at the same time, a cache line of each in
/// turn: some CPUs read one stream best (Zen 4), others eight (Ice Lake: 34 GB/s, while one stream reaches 24).
template <int streams>
double read_seconds(std::span<const float> buffer, int passes) {
  const std::int64_t parts = thread_count(), size = static_cast<std::int64_t>(buffer.size()) / parts / streams;
  return best_seconds(passes, [&] {
    parallel_for(parts, [&](std::int64_t part) {
      float sum[64] = {};
      const float* p = buffer.data() + part * size * streams;
      for (std::int64_t i = 0; i + 64 <= size; i += 64)
        for (int s = 0; s < streams; ++s)
          for (int j = 0; j < 64; ++j) sum[j] += p[s * size + i + j];
      keep(sum);
    });
  });
}
/// Bytes read per second by all threads from main memory, at best of so many passes over it.
inline double read_bytes_per_s_of(int passes) {
  const auto buffer = large_buffer();
  const int each = std::max(1, passes / 3);
  const double seconds =
      std::min({read_seconds<1>(buffer, each), read_seconds<4>(buffer, each), read_seconds<8>(buffer, each)});
  return static_cast<double>(buffer.size()) * 4 / seconds;
}
/// The same, measured once a run.
inline double read_bytes_per_s() {
  static const double value = read_bytes_per_s_of(20);
  return value;
}

/// Bytes read plus bytes written per second by copying between two halves of main memory.
inline double copy_bytes_per_s() {
  const auto buffer = large_buffer();
  const std::int64_t half = static_cast<std::int64_t>(buffer.size()) / 2, parts = thread_count(), size = half / parts;
  const double seconds = best_seconds(10, [&] {
    parallel_for(parts, [&](std::int64_t part) {
      std::copy_n(buffer.data() + part * size, size, buffer.data() + half + part * size);
      keep(buffer[half + part * size]);
    });
  });
  return static_cast<double>(half) * 8 / seconds;
}

#if LAMINA_X86
/// Twelve independent chains: more than the latency of two multiply-add units needs. asm keeps each round.
LAMINA_AVX2 inline void multiply_add_avx2(int rounds) {
  __m256 x[12];
  const __m256 half = _mm256_set1_ps(0.5f);
#pragma GCC unroll 12
  for (int j = 0; j < 12; ++j) x[j] = half;
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) {
      x[j] = _mm256_fmadd_ps(x[j], half, half);
      asm volatile("" : "+x"(x[j]));
    }
  }
}
LAMINA_AVX512_BF16 inline void multiply_add_avx512(int rounds, bool pairs) {
  __m512 x[12];
  const __m512 half = _mm512_set1_ps(0.5f);
#pragma GCC unroll 12
  for (int j = 0; j < 12; ++j) x[j] = half;
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) {
      x[j] = pairs ? _mm512_dpbf16_ps(x[j], (__m512bh)half, (__m512bh)half) : _mm512_fmadd_ps(x[j], half, half);
      asm volatile("" : "+v"(x[j]));
    }
  }
}
#endif

/// Operations per second from registers alone, a multiply-add being two, in the widest instructions that this CPU has:
/// of fp32, or if `halves` and the CPU has them, of bf16.
inline double peak_flop_per_s(bool halves) {
  using kernel::detail::cpu_supports;
  using kernel::detail::Isa;
  constexpr int rounds = 4'000'000;
  double lanes = 0;
  const double seconds = best_seconds(10, [&] {
    parallel_for(thread_count(), [&](std::int64_t part) {
      double mine = 0;
#if LAMINA_X86
      const bool pairs = halves && cpu_supports(Isa::avx512_bf16);
      if (pairs)
        multiply_add_avx512(rounds, true), mine = 32;
      else if (cpu_supports(Isa::avx512))
        multiply_add_avx512(rounds, false), mine = 16;
      else if (cpu_supports(Isa::avx2))
        multiply_add_avx2(rounds), mine = 8;
#endif
      if (part == 0) lanes = mine;
    });
  });
  return thread_count() * 2.0 * 12 * rounds * lanes / seconds;
}

}  // namespace lamina::testing
