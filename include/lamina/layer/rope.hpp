#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include <lamina/core/list.hpp>

/// Rotary position embeddings: which of a token's coordinates turns which frequency. Each type fills the tables that
/// kernel/norm_rope.hpp reads:  angle[n,j] = position[n][axis(j)] * theta^(-2j / dim),  j < dim / 2.
/// source      Su et al. 2021, arXiv:2104.09864; multimodal: Wang et al. 2024, arXiv:2409.12191
namespace lamina {

/// How many frequencies the time, height and width coordinates get.
template <int Time, int Height, int Width>
struct Section {
  static constexpr int time = Time, height = Height, width = Width;
};

namespace detail {
/// inv_freq as torch computes it: 1 / theta^(2j / dim), fp32.
inline float inverse_frequency(double theta, int j, int dim) {
  return 1.0f / std::pow(static_cast<float>(theta), static_cast<float>(2 * j) / static_cast<float>(dim));
}
}  // namespace detail

/// Qwen3-VL: axes t h w take turns, frequency by frequency; what is left at the end goes to t.
template <std::int64_t Theta, class S>
struct InterleavedMRoPE {
  static constexpr int axis(int j) {
    if (j % 3 == 1 && j < 3 * S::height) return 1;
    if (j % 3 == 2 && j < 3 * S::width) return 2;
    return 0;
  }
  static constexpr std::int64_t theta = Theta;
};

/// Qwen2.5-VL: the first frequencies turn with t, the next with h, the last with w.
template <std::int64_t Theta, class S>
struct SectionedMRoPE {
  static constexpr int axis(int j) { return j < S::time ? 0 : j < S::time + S::height ? 1 : 2; }
  static constexpr std::int64_t theta = Theta;
};

/// theta^(-2j/dim) for j < dim / 2, in fp32 throughout, as transformers computes them.
inline std::vector<float> inverse_frequencies(double theta, int dim) {
  std::vector<float> f;
  for (int j = 0; j < dim / 2; ++j) f.push_back(detail::inverse_frequency(theta, j, dim));
  return f;
}

/// Fills cos and sin (head_dim / 2) for one token of a text model at (t, h, w).
template <class MRoPE>
void fill_mrope(const int* position, const std::vector<float>& frequencies, float* cos, float* sin) {
  for (std::size_t j = 0; j < frequencies.size(); ++j) {
    const float angle = static_cast<float>(position[MRoPE::axis(static_cast<int>(j))]) * frequencies[j];
    cos[j] = std::cos(angle);
    sin[j] = std::sin(angle);
  }
}

/// Vision towers: the first quarter of a head turns with the patch's row, the second with its column.
struct RoPE2D {
  static constexpr std::int64_t theta = 10000;
};
/// frequencies: inverse_frequencies(theta, head_dim / 2), a quarter of a head.
inline void fill_rope2d(int row, int column, const std::vector<float>& frequencies, float* cos, float* sin) {
  const std::size_t quarter = frequencies.size();
  for (std::size_t j = 0; j < 2 * quarter; ++j) {
    const float position = static_cast<float>(j < quarter ? row : column);
    const float angle = position * frequencies[j % quarter];
    cos[j] = std::cos(angle);
    sin[j] = std::sin(angle);
  }
}

}  // namespace lamina
