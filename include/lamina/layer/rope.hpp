#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lamina/core/list.hpp>

/// Rotary position embeddings: which of a token's coordinates turns which frequency. Each type fills the tables that
/// kernel/norm/norm_rope.hpp reads:  angle[n,j] = position[n][axis(j)] * theta^(-2j / dim),  j < dim / 2.
/// source      Su et al. 2021, arXiv:2104.09864; multimodal: Wang et al. 2024, arXiv:2409.12191
namespace lamina {

/// How many frequencies the time, height and width coordinates get.
template <int Time, int Height, int Width>
struct Section {
  static constexpr int time = Time, height = Height, width = Width;
};

/// cos and sin of position * theta^(-2j / dim), j < dim / 2, for positions 0, 1, ...: each position is computed once.
class Turns {
 public:
  Turns(double theta, int dim) : frequencies_(static_cast<std::size_t>(dim / 2)) {
    for (int j = 0; j < dim / 2; ++j)  // as torch computes them: 1 / theta^(2j / dim), fp32
      frequencies_[static_cast<std::size_t>(j)] =
          1.0f / std::pow(static_cast<float>(theta), static_cast<float>(2 * j) / static_cast<float>(dim));
  }
  /// Makes positions [0, count) known.
  void reach(int count) {
    for (; known_ < count; ++known_)
      for (const float frequency : frequencies_) {
        const float angle = static_cast<float>(known_) * frequency;
        cos_.push_back(std::cos(angle));
        sin_.push_back(std::sin(angle));
      }
  }
  /// (dim / 2) values of a known position.
  const float* cos(int position) const { return &cos_[static_cast<std::size_t>(position) * frequencies_.size()]; }
  const float* sin(int position) const { return &sin_[static_cast<std::size_t>(position) * frequencies_.size()]; }

 private:
  std::vector<float> frequencies_, cos_, sin_;
  int known_ = 0;
};

/// Text: one axis, the token's place in its sequence.
template <std::int64_t Theta>
struct RoPE {
  static constexpr int axis(int) { return 0; }
  static constexpr std::int64_t theta = Theta;
};

/// Qwen3-VL: axes t h w take turns, frequency by frequency; the rest at the end goes to t.
template <std::int64_t Theta, class S>
struct InterleavedMRoPE {
  using section = S;
  static constexpr bool interleaved = true;
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
  using section = S;
  static constexpr bool interleaved = false;
  static constexpr int axis(int j) { return j < S::time ? 0 : j < S::time + S::height ? 1 : 2; }
  static constexpr std::int64_t theta = Theta;
};

/// Fills cos and sin (head_dim / 2) of one token of a text model at (t, h, w); turns: of MRoPE::theta, head_dim.
template <class MRoPE>
void fill_mrope(const Turns& turns, const int* position, int head_dim, float* cos, float* sin) {
  const float *cos_of[3], *sin_of[3];
  for (int axis = 0; axis < 3; ++axis)
    cos_of[axis] = turns.cos(position[axis]), sin_of[axis] = turns.sin(position[axis]);
  for (int j = 0; j < head_dim / 2; ++j) {
    cos[j] = cos_of[MRoPE::axis(j)][j];
    sin[j] = sin_of[MRoPE::axis(j)][j];
  }
}

/// Vision towers: the first quarter of a head turns with the patch's row, the second with its column.
struct RoPE2D {
  static constexpr std::int64_t theta = 10000;
};
/// Fills cos and sin (head_dim / 2) of one patch; turns: of RoPE2D::theta, head_dim / 2.
inline void fill_rope2d(const Turns& turns, int row, int column, int head_dim, float* cos, float* sin) {
  const int quarter = head_dim / 4;
  std::copy_n(turns.cos(column), quarter, std::copy_n(turns.cos(row), quarter, cos));
  std::copy_n(turns.sin(column), quarter, std::copy_n(turns.sin(row), quarter, sin));
}

}  // namespace lamina
