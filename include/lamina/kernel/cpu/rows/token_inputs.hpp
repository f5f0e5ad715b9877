#pragma once
#include <lamina/kernel/rows/token_inputs.hpp>

template <>
struct lamina::kernel::token_inputs<lamina::Cpu> {
  static void forward(Stream<Cpu>, const TokenInputs& a) {
    const int half = a.cos.cols;
    for (int n = 0; n < a.cos.rows; ++n) {
      a.ids[n] = a.id(n);
      for (int j = 0; j < half; ++j) {
        const float* turn = a.turns.row(a.positions[3 * n + a.axis[j]]);
        a.cos(n, j) = turn[j];
        a.sin(n, j) = turn[half + j];
      }
    }
  }
};
