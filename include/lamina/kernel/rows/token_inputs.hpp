#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// What a decoder looks up of the N tokens of a step, found without the host: the ids of tokens that the backend chose
/// itself, and the rotary angles of every token's position.
///
///     id[n]     = given[n] if given[n] >= -1, else newest[-2 - given[n]]
///     cos[n, j] = turns[position[n, axis[j]], j]
///     sin[n, j] = turns[position[n, axis[j]], Dh / 2 + j]          j < Dh / 2
///
/// source  rotary axes: layer/rope.hpp
struct TokenInputs {
  static constexpr int max_head_dim = 256;

  const int* given = nullptr;      ///< (N) an id, -1 for a token that an image replaces, or newest_of(row)
  const int* newest = nullptr;     ///< (R) the newest token of each request row
  const int* positions = nullptr;  ///< (N, 3) time, height, width
  Matrix<const float> turns;       ///< (positions, Dh) cos, then sin
  unsigned char axis[max_head_dim / 2] = {};
  int* ids = nullptr;      ///< (N)
  Matrix<float> cos, sin;  ///< (N, Dh / 2)

  static constexpr int newest_of(int row) { return -2 - row; }
  static LAMINA_HD int id_of(int given, const int* newest) { return given >= -1 ? given : newest[-2 - given]; }
  LAMINA_HD int id(int n) const { return id_of(given[n], newest); }
};

template <class B>
struct token_inputs {
  static void forward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
