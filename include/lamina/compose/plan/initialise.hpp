#pragma once
#include <cmath>
#include <numbers>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/random/torch.hpp>

namespace lamina {
namespace detail {

/// Draws the values of one tensor, as its Param says.
inline float initial_value(const TensorSpec& spec, TorchGenerator& random) {
  switch (spec.init) {
    case TensorSpec::Init::zeros:
      return 0;
    case TensorSpec::Init::ones:
      return 1;
    case TensorSpec::Init::kaiming: {
      const float bound = 1 / std::sqrt(static_cast<float>(spec.cols()));
      return random.uniform(-bound, bound);
    }
    case TensorSpec::Init::normal:
      break;
  }
  const float u = 1 - random.uniform(0, 1), v = random.uniform(0, 1);  // Box & Muller 1958; u > 0
  return 0.02f * std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi_v<float> * v);
}

template <class T>
void initialise_tensor(const TensorSpec& spec, TorchGenerator& random, void* data) {
  for (std::int64_t i = 0; i < spec.count(); ++i) static_cast<T*>(data)[i] = round_to<T>(initial_value(spec, random));
}

}  // namespace detail

/// Gives every tensor the values that its Param starts from; the same seed makes the same model.
template <class T, Backend B>
void initialise(TensorMemory<T, B>& weights, std::uint64_t seed) {
  TorchGenerator random(seed);
  for (const TensorSlot& slot : weights.slots())
    weights.fill(slot, [&](std::span<std::byte> to) {
      if (slot.dtype == DType::BF16)
        detail::initialise_tensor<bf16>(slot.spec, random, to.data());
      else if (slot.dtype == DType::F16)
        detail::initialise_tensor<f16>(slot.spec, random, to.data());
      else
        detail::initialise_tensor<float>(slot.spec, random, to.data());
    });
}

/// A model of its own starting values, in fp32, ready to train: for experiments and examples.
template <class Model>
Weights<Model, float> initialised(std::uint64_t seed) {
  Weights<Model, float> weights;
  weights.allocate(true);
  initialise(weights, seed);
  return weights;
}

}  // namespace lamina
