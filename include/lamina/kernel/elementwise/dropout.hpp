#pragma once
#include <cstdint>
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/elementwise/hashed.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// Which elements fall out: a pure function of the seeds and the element's index, so backward drops the same ones.
struct DropoutMask {
  float probability = 0;
  std::uint64_t seed = 0;                    ///< of the layer
  const std::uint64_t* step_seed = nullptr;  ///< added to it, from the backend's memory; null: 0

  /// The mask with both seeds in one; runs where step_seed can be read.
  LAMINA_HD DropoutMask of_step() const { return {probability, step_seed ? seed + *step_seed : seed}; }

  /// Of a mask whose seeds are in one.
  LAMINA_HD float factor(std::uint64_t index) const {
    return hashed_unit(seed, index) < probability ? 0 : 1 / (1 - probability);
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
