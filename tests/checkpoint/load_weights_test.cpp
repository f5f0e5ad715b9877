#include <array>
#include <cmath>
#include <type_traits>
#include <vector>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/compose/sharded.hpp>
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

TEST_CASE("load_weights: rows of a folded DoRA adapter have its magnitudes, one adapter after another") {
  const Scratch scratch;
  const std::vector<float> w = {3, 4, 0, 1};
  const checkpoint::TensorData tensors[] = {{"o_proj.weight", DType::F32, {2, 2}, std::as_bytes(std::span(w))}};
  checkpoint::write_safetensors(scratch / "model.safetensors", tensors);
  const auto files = checkpoint::Checkpoint::open(scratch / "model.safetensors");
  using Square = Named<o_proj, Linear<2, 2>>;
  Weights<Square, float> weights([](const TensorSpec&) { return TensorChoice{DType::F32, 0, false}; });
  weights.allocate(false);
  // (3, 4), (0, 1) become (3, 4), (1, 1); of lengths 10 and sqrt 2 (6, 8), (1, 1); then 1 is added to each first.
  const checkpoint::AdapterLayers folded[] = {{{"o_proj", {1, 1, {1, 0}, {0, 1}, {10, std::sqrt(2.0f)}}}},
                                              {{"o_proj", {1, 1, {1, 0}, {1, 1}}}}};
  checkpoint::load_weights(weights, files, folded);
  const auto* got = static_cast<const float*>(weights.data(weights.slots()[0]));
  const float wanted[] = {7, 8, 2, 1};
  for (int i = 0; i < 4; ++i) CHECK(got[i] == Approx(wanted[i]));
}

TEST_CASE("load_weights: a tensor that an adapter replaces is that adapter's, and later ones add to it") {
  const Scratch scratch;
  const std::vector<float> w = {3, 4, 0, 1}, other = {1, 2, 3, 4};
  const auto write = [&](const char* name, const std::vector<float>& values) {
    const checkpoint::TensorData tensors[] = {{name, DType::F32, {2, 2}, std::as_bytes(std::span(values))}};
    checkpoint::write_safetensors(scratch / "one.safetensors", tensors);
    return std::make_shared<const checkpoint::Checkpoint>(checkpoint::Checkpoint::open(scratch / "one.safetensors"));
  };
  const auto files = write("o_proj.weight", w);
  checkpoint::AdapterLayers folded[] = {{{"o_proj", {1, 1, {5, 5}, {5, 5}}}}, {}, {{"o_proj", {1, 1, {1, 0}, {1, 1}}}}};
  folded[1].file = write("saved", other);
  folded[1].replaced["o_proj.weight"] = "saved";
  using Square = Named<o_proj, Linear<2, 2>>;
  Weights<Square, float> weights([](const TensorSpec&) { return TensorChoice{DType::F32, 0, false}; });
  weights.allocate(false);
  checkpoint::load_weights(weights, *files, folded);
  const auto* got = static_cast<const float*>(weights.data(weights.slots()[0]));
  CHECK(std::vector<float>(got, got + 4) == std::vector<float>{2, 2, 4, 4});
}

TEST_CASE(
    "load_weights: a rank reads its rows, or its columns, of a matrix and its part of a bias, adapters folded in") {
  constexpr int in = 6, out = 4, ranks = 2;
  using Rows = Named<o_proj, Shard<Linear<in, out / ranks, Bias>, ranks, 1>>;
  using Columns = Named<o_proj, Shard<Linear<in / ranks, out>, 1, ranks>>;
  const Scratch scratch;
  std::vector<float> w(in * out), bias(out);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = -static_cast<float>(i);
  const checkpoint::TensorData tensors[] = {{"o_proj.weight", DType::F32, {out, in}, std::as_bytes(std::span(w))},
                                            {"o_proj.bias", DType::F32, {out}, std::as_bytes(std::span(bias))}};
  checkpoint::write_safetensors(scratch / "model.safetensors", tensors);
  const auto files = checkpoint::Checkpoint::open(scratch / "model.safetensors");
  const checkpoint::AdapterLayers folded[] = {
      {{"o_proj", {.rank = 1, .scale = 10, .a = {0, 1, 2, 3, 4, 5}, .b = {1, 0, 0, 1}}}}};
  const auto value = [&](int o, int i, bool with_adapter) {
    return static_cast<float>(in * o + i + (with_adapter && o % 3 == 0 ? 10 * i : 0));
  };
  for (const bool with_adapter : {false, true})
    for (int rank = 0; rank < ranks; ++rank) {
      CAPTURE(with_adapter, rank);
      const auto load = [&](auto& weights) {
        weights.allocate(false);
        checkpoint::load_weights(weights, files, with_adapter ? std::span(folded) : std::span(folded, 0), rank);
      };
      Weights<Rows, float> rows;
      load(rows);
      const auto* upper = static_cast<const float*>(rows.data(rows.slots()[0]));
      for (int o = 0; o < out / ranks; ++o)
        for (int i = 0; i < in; ++i) CHECK(upper[in * o + i] == value(rank * out / ranks + o, i, with_adapter));
      CHECK(static_cast<const float*>(rows.data(rows.slots()[1]))[1] == bias[static_cast<std::size_t>(2 * rank + 1)]);
      Weights<Columns, float> columns;
      load(columns);
      const auto* left = static_cast<const float*>(columns.data(columns.slots()[0]));
      for (int o = 0; o < out; ++o)
        for (int i = 0; i < in / ranks; ++i)
          CHECK(left[in / ranks * o + i] == value(o, rank * in / ranks + i, with_adapter));
    }
  using Other = Named<o_proj, Shard<Linear<in, out>, ranks, 1>>;
  Weights<Other, float> other;
  other.allocate(false);
  CHECK(::contains(error_of([&] { checkpoint::load_weights(other, files, {}); }),
                   "o_proj.weight is (4, 6), config.json's "
                   "sizes want (8, 6)"));
}
