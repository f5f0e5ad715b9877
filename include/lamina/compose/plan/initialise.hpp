#pragma once
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

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
    case TensorSpec::Init::row_norms:  // by initialise()
      break;
  }
  const float u = 1 - random.uniform(0, 1), v = random.uniform(0, 1);  // Box & Muller 1958; u > 0
  return 0.02f * std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi_v<float> * v);
}

template <class T>
void initialise_tensor(const TensorSpec& spec, TorchGenerator& random, void* data) {
  for (std::int64_t i = 0; i < spec.count(); ++i) static_cast<T*>(data)[i] = round_to<T>(initial_value(spec, random));
}

/// Of a matrix's rows.
template <class T>
std::vector<float> row_norms(const TensorSpec& spec, const void* data) {
  std::vector<float> norms(static_cast<std::size_t>(spec.rows()));
  const T* x = static_cast<const T*>(data);
  for (float& norm : norms) {
    float squares = 0;
    for (int i = 0; i < spec.cols(); ++i, ++x) squares += to_f32(*x) * to_f32(*x);
    norm = std::sqrt(squares);
  }
  return norms;
}

}  // namespace detail

/// Gives every tensor the values that its Param starts from; the same seed makes the same model.
template <class T, Backend B>
void initialise(TensorMemory<T, B>& weights, std::uint64_t seed) {
  TorchGenerator random(seed);
  std::vector<float> norms;  // of the last matrix of the base model
  const auto initialise_as = [&]<class Element>(const TensorSpec& spec, Element, void* to) {
    if (spec.init == TensorSpec::Init::row_norms) {
      std::memcpy(to, norms.data(), norms.size() * sizeof(float));  // always fp32
      return;
    }
    detail::initialise_tensor<Element>(spec, random, to);
    if (spec.rank == 2 && !spec.added) norms = detail::row_norms<Element>(spec, to);
  };
  for (const TensorSlot& slot : weights.slots())
    weights.fill(slot, [&](std::span<std::byte> to) {
      if (slot.dtype == DType::BF16)
        initialise_as(slot.spec, bf16{}, to.data());
      else if (slot.dtype == DType::F16)
        initialise_as(slot.spec, f16{}, to.data());
      else
        initialise_as(slot.spec, float{}, to.data());
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
