#pragma once
#include <lamina/core/error.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

/// numpy's two generators: the same numbers from the same seed, so that a run here draws the records that a run of
/// LLaMA-Factory draws. tests/reference/numpy_random_golden.py writes the values that the tests compare with.
namespace lamina {

namespace detail {

/// Uniform in 0 .. most, from draws of 32 bits: each is masked to the bits of `most`, and values above it are thrown
/// away. source  numpy, random/src/distributions/distributions.c (random_interval)
template <class Draw>
std::uint32_t numpy_interval(int most, Draw draw) {
  if (most == 0) return 0;
  const auto bound = static_cast<std::uint32_t>(most);
  const std::uint32_t mask = 0xffffffffu >> std::countl_zero(bound);
  for (;;) {
    const std::uint32_t value = draw() & mask;
    if (value <= bound) return value;
  }
}

/// 0 .. n-1, shuffled from the end.
template <class Draw>
std::vector<int> numpy_permutation(int n, Draw draw) {
  std::vector<int> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (int i = n - 1; i > 0; --i) std::swap(order[static_cast<std::size_t>(i)], order[numpy_interval(i, draw)]);
  return order;
}

}  // namespace detail

/// numpy.random.RandomState, the generator behind np.random.seed and np.random.permutation: MT19937.
/// source  numpy, random/mtrand.pyx
class NumpyRandomState {
 public:
  /// np.random.seed(seed), for seeds below 2^32 as there.
  explicit NumpyRandomState(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {
    if (seed > 0xffffffffu) fail("seed: ", seed, " is above 4294967295, the largest seed that numpy takes");
  }

  /// np.random.permutation(n).
  std::vector<int> permutation(int n) {
    return detail::numpy_permutation(n, [this] { return draw(); });
  }

  /// One value of np.random.choice(n, size): uniform in 0 .. n-1.
  int choice(int n) {
    return static_cast<int>(detail::numpy_interval(n - 1, [this] { return draw(); }));
  }

 private:
  std::uint32_t draw() { return static_cast<std::uint32_t>(engine_()); }

  std::mt19937 engine_;
};

namespace detail {

/// The words that numpy.random.SeedSequence(seed).generate_state(4, uint64) makes of one seed.
/// source  M. E. O'Neill, "Developing a seed_seq alternative" (2015); numpy, random/bit_generator.pyx
inline std::array<std::uint64_t, 4> numpy_seed_sequence(std::uint64_t seed) {
  const std::uint32_t entropy[4] = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32), 0, 0};
  const auto folded = [](std::uint32_t x) { return x ^ (x >> 16); };
  std::uint32_t hash = 0x43b0d7e5u;
  const auto hashed = [&](std::uint32_t value) {
    value ^= hash;
    hash *= 0x931e8875u;
    return folded(value * hash);
  };
  std::uint32_t pool[4];
  for (int i = 0; i < 4; ++i) pool[i] = hashed(entropy[i]);
  for (int from = 0; from < 4; ++from) {
    for (int to = 0; to < 4; ++to) {
      if (from != to) pool[to] = folded(0xca01f9ddu * pool[to] - 0x4973f715u * hashed(pool[from]));
    }
  }
  std::array<std::uint64_t, 4> state{};
  hash = 0x8b51f9ddu;
  for (int i = 0; i < 8; ++i) {
    std::uint32_t value = pool[i % 4] ^ hash;
    hash *= 0x58f38dedu;
    value = folded(value * hash);
    state[static_cast<std::size_t>(i / 2)] |= std::uint64_t{value} << (32 * (i % 2));
  }
  return state;
}

/// A 128-bit unsigned number, as far as PCG64 needs it.
struct Uint128 {
  std::uint64_t high = 0, low = 0;

  friend Uint128 operator+(Uint128 a, Uint128 b) {
    const std::uint64_t low = a.low + b.low;
    return {a.high + b.high + (low < a.low), low};
  }
  friend Uint128 operator*(Uint128 a, Uint128 b) {
    const std::uint64_t half = 0xffffffffu, al = a.low & half, ah = a.low >> 32, bl = b.low & half, bh = b.low >> 32;
    const std::uint64_t ll = al * bl, lh = al * bh, hl = ah * bl;
    const std::uint64_t middle = (ll >> 32) + (lh & half) + (hl & half);
    const std::uint64_t carried = ah * bh + (lh >> 32) + (hl >> 32) + (middle >> 32);
    return {carried + a.high * b.low + a.low * b.high, a.low * b.low};
  }
};

}  // namespace detail

/// numpy.random.default_rng(seed): PCG64, which is PCG XSL RR 128/64.
/// source  M. E. O'Neill, "PCG" (2014); numpy, random/_generator.pyx
class NumpyGenerator {
 public:
  explicit NumpyGenerator(std::uint64_t seed) {
    const auto words = detail::numpy_seed_sequence(seed);
    increment_ = {words[2] << 1 | words[3] >> 63, words[3] << 1 | 1};
    advance();
    state_ = state_ + detail::Uint128{words[0], words[1]};
    advance();
  }

  std::uint64_t next() {
    advance();
    return std::rotr(state_.high ^ state_.low, static_cast<int>(state_.high >> 58));
  }

  /// rng.random(): in [0, 1), 53 random bits.
  double random() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  /// rng.permutation(n).
  std::vector<int> permutation(int n) {
    return detail::numpy_permutation(n, [this] { return next_half(); });
  }

  /// One value of rng.integers(0, n, size): the high half of n times a draw of 32 bits, drawn again while its low half
  /// is one of the 2^32 mod n values that would make some results likelier. 1 <= n < 2^32.
  /// source  D. Lemire, "Fast Random Integer Generation in an Interval" (2019); numpy, distributions.c
  std::uint32_t below(std::uint32_t n) {
    if (n == 1) return 0;
    std::uint64_t product = std::uint64_t{next_half()} * n;
    if (static_cast<std::uint32_t>(product) < n) {
      const std::uint32_t unfair = (0u - n) % n;
      while (static_cast<std::uint32_t>(product) < unfair) product = std::uint64_t{next_half()} * n;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  /// rng.shuffle(list).
  template <class T>
  void shuffle(std::vector<T>& list) {
    for (std::size_t i = list.size(); i-- > 1;)
      std::swap(list[i], list[detail::numpy_interval(static_cast<int>(i), [this] { return next_half(); })]);
  }

 private:
  void advance() { state_ = state_ * detail::Uint128{2549297995355413924u, 4865540595714422341u} + increment_; }

  /// Half of a draw: the low bits first, the high ones at the next call.
  std::uint32_t next_half() {
    if (has_half_) {
      has_half_ = false;
      return half_;
    }
    const std::uint64_t drawn = next();
    has_half_ = true;
    half_ = static_cast<std::uint32_t>(drawn >> 32);
    return static_cast<std::uint32_t>(drawn);
  }

  detail::Uint128 state_, increment_;
  std::uint32_t half_ = 0;
  bool has_half_ = false;
};

/// rng.choice(len(p), size, p=p), one value after another: the place of a uniform draw in the normalised running sum.
class NumpyWeightedChoice {
 public:
  NumpyWeightedChoice(const std::vector<double>& probabilities, std::uint64_t seed)
      : cumulative_(probabilities.size()), generator_(seed) {
    std::partial_sum(probabilities.begin(), probabilities.end(), cumulative_.begin());
    for (double& sum : cumulative_) sum /= cumulative_.back();
  }
  int next() {
    return static_cast<int>(std::upper_bound(cumulative_.begin(), cumulative_.end(), generator_.random()) -
                            cumulative_.begin());
  }

 private:
  std::vector<double> cumulative_;
  NumpyGenerator generator_;
};

}  // namespace lamina
