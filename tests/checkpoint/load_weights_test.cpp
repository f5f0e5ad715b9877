#include <array>
#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/compose/scaled.hpp>
#include <lamina/layer/linear.hpp>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

using namespace lamina;

namespace {
LAMINA_NAME(o_proj);
using Layer = Named<o_proj, Scaled<Linear<2, 1, Bias>, -8, 0>>;

/// o_proj's weight and bias as memory holds them, from a file in which they are w and (3).
template <class T>
std::array<float, 3> loaded(std::array<float, 2> w, DType dtype) {
  const Scratch scratch;
  const float bias = 3;
  const checkpoint::TensorData tensors[] = {{"o_proj.weight", DType::F32, {1, 2}, std::as_bytes(std::span(w))},
                                            {"o_proj.bias", DType::F32, {1}, std::as_bytes(std::span(&bias, 1))}};
  checkpoint::write_safetensors(scratch / "model.safetensors", tensors);
  const auto files = checkpoint::Checkpoint::open(scratch / "model.safetensors");
  Weights<Layer, T> weights([&](const TensorSpec&) { return typename Weights<Layer, T>::Choice{dtype, 0, false}; });
  weights.allocate(false);
  checkpoint::load_weights(weights, files, {});
  const auto* matrix = static_cast<const T*>(weights.data(weights.slots()[0]));
  return {to_f32(matrix[0]), to_f32(matrix[1]), to_f32(*static_cast<const T*>(weights.data(weights.slots()[1])))};
}
}  // namespace

TEST_CASE("load_weights: what the type scales is scaled, and rounded once") {
  CHECK(loaded<float>({1, -512}, DType::F32) == std::array<float, 3>{0x1p-8f, -2, 3});
  CHECK(loaded<f16>({1, -512}, DType::F16) == std::array<float, 3>{0x1p-8f, -2, 3});
}

TEST_CASE("load_weights: a weight beyond fp16 is named, never infinite") {
  const std::string error = error_of([] { loaded<f16>({1, 70000}, DType::F16); });
  CHECK(::contains(error, "o_proj.weight has an element of 70000, and fp16 ends at 65504"));
}
