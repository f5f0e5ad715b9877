#pragma once
#include <cmath>
#include <cstdint>

#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/elementwise/hashed.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// Adds uniform noise to the embeddings of a training step, no two steps the same:
///
///     x[n,i] += u m     u in [-1, 1) by seed and element     m = alpha / sqrt(L D)
///
/// x (N, D); L: the length of n's sequence, rounded up to a multiple of 8 as LLaMA-Factory pads it. The gradient of x
/// is that of the sum. source  Jain et al. 2023, arXiv:2310.05914, algorithm 1
template <class T>
struct EmbeddingNoise {
  Matrix<T> x;
  const int* cu_seqlens = nullptr;  ///< (sequences + 1)
  int sequences = 0;
  float alpha = 0;
  const std::uint64_t* step_seed = nullptr;

  /// m of the sequence that has row n.
  LAMINA_HD float magnitude(int n) const {
    int first = 0, last = sequences;  // cu_seqlens[first] <= n < cu_seqlens[last]
    while (last - first > 1) {
      const int middle = (first + last) / 2;
      (cu_seqlens[middle] <= n ? first : last) = middle;
    }
    const int length = (cu_seqlens[last] - cu_seqlens[first] + 7) / 8 * 8;
    return alpha / std::sqrt(static_cast<float>(length) * static_cast<float>(x.cols));
  }
  LAMINA_HD float noise(float m, std::uint64_t index) const { return (2 * hashed_unit(*step_seed, index) - 1) * m; }
};

template <class B>
struct embedding_noise {
  static void add(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
