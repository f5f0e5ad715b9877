#include <array>
#include <type_traits>
#include <vector>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/compose/wrap/scaled.hpp>
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

TEST_CASE("load_weights: rows that are read, converted and sent some at a time are those of the file") {
  constexpr int in = 1030, out = 9000;  // more than fill_rows() sends at once
  using Wide = Named<o_proj, Linear<in, out, NoBias>>;
  const Scratch scratch;
  std::vector<float> w(static_cast<std::size_t>(in) * out);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 127) - 63;
  const checkpoint::TensorData tensors[] = {{"o_proj.weight", DType::F32, {out, in}, std::as_bytes(std::span(w))}};
  checkpoint::write_safetensors(scratch / "model.safetensors", tensors);
  const auto files = checkpoint::Checkpoint::open(scratch / "model.safetensors");
  const auto expect = [&]<class T>(std::type_identity<T>, DType dtype,
                                   std::span<const checkpoint::AdapterLayers> folded, auto value) {
    Weights<Wide, T> weights([&](const TensorSpec&) { return typename Weights<Wide, T>::Choice{dtype, 0, false}; });
    weights.allocate(false);
    checkpoint::load_weights(weights, files, folded);
    const auto* loaded = static_cast<const T*>(weights.data(weights.slots()[0]));
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < w.size(); ++i) wrong += to_f32(loaded[i]) != value(i);
    CHECK(wrong == 0);
  };
  const auto stored = [&](std::size_t i) { return w[i]; };
  expect(std::type_identity<float>{}, DType::F32, {}, stored);
  expect(std::type_identity<bf16>{}, DType::BF16, {}, stored);
  expect(std::type_identity<f16>{}, DType::F16, {}, stored);

  checkpoint::AdapterLayer layer{.rank = 1, .scale = 2, .a = std::vector<float>(in), .b = std::vector<float>(out)};
  for (int i = 0; i < in; ++i) layer.a[i] = static_cast<float>(i % 3);
  for (int o = 0; o < out; ++o) layer.b[o] = static_cast<float>(o % 5);
  const checkpoint::AdapterLayers folded[] = {{{"o_proj", layer}}};
  const auto with_adapter = [&](std::size_t i) { return w[i] + 2 * layer.b[i / in] * layer.a[i % in]; };
  expect(std::type_identity<float>{}, DType::F32, folded, with_adapter);
  expect(std::type_identity<bf16>{}, DType::BF16, folded, with_adapter);
}
