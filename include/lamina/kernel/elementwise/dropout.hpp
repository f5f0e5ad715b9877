#pragma once
#include <cstdint>
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// Which elements fall out: a pure function of the seeds and the element's index, so backward drops the same ones.
struct DropoutMask {
  float probability = 0;
  std::uint64_t seed = 0;                    ///< of the layer
  const std::uint64_t* step_seed = nullptr;  ///< added to it, from the backend's memory; null: 0

  /// The mask with both seeds in one; runs where step_seed can be read.
  LAMINA_HD DropoutMask of_step() const { return {probability, step_seed ? seed + *step_seed : seed}; }

  /// Of a mask whose seeds are in one. splitmix64 (Steele et al. 2014) of seed and index; the upper 24 bits decide.
  LAMINA_HD float factor(std::uint64_t index) const {
    std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return static_cast<float>(z >> 40) * 0x1p-24f < probability ? 0 : 1 / (1 - probability);
  }
};

/// y = x * factor, both (N, D); y may be x.
template <class T>
struct Dropout {
  Matrix<const T> x;
  Matrix<T> y;
};

template <class B>
struct dropout {
  static void forward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
