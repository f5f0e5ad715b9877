#include <lamina/compose/plan/merged.hpp>
#include <lamina/fuse/describe.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen_vl/tags.hpp>
#include <lamina/testing/gradient_check.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::name;
using namespace lamina::qwen_vl::tags;

namespace {
// clang-format off
template <int F>
struct Mlp : SwiGLU<Named<gate_proj, Linear<8, F>>, Named<up_proj, Linear<8, F>>, Named<down_proj, Linear<F, 8>>> {};
template <int F>
struct Layer : Residual<Named<post_attention_layernorm, RMSNorm<8>>, Named<mlp, Mlp<F>>> {};
// clang-format on
struct Plain : Residual<Named<norm, RMSNorm<8>>, Named<o_proj, Linear<8, 8>>> {};

struct AllSame : Layers<layers, Layer<6>, Layer<6>, Layer<6>> {};
struct SameInTurns : Repeating<layers, 3, Layer<6>, Layer<6>> {};
struct AsStack : Stack<layers, 3, Layer<6>> {};
struct Mixed : Layers<layers, Layer<6>, Plain, Layer<6>> {};
struct InTurns : Repeating<layers, 5, Layer<6>, Layer<6>, Layer<4>> {};
struct Adapted : LoRA<Mixed, Rank<2>, Alpha<4>, Targets<down_proj, o_proj>> {};

template <class M>
std::vector<std::string> names() {
  std::vector<std::string> out;
  for_each_tensor<M>([&](const TensorSpec& spec) { out.emplace_back(spec.path.view()); });
  return out;
}
template <class M>
void check(const testing::GradientOptions& options) {
  const testing::GradientReport report = testing::check_gradients<M>(options);
  INFO(report.text());
  CHECK(report.passed());
}
}  // namespace

TEST_CASE("Layers: of one kind they are a Stack, in names and to the bit") {
  STATIC_REQUIRE(AllSame::kinds == 1);
  STATIC_REQUIRE(SameInTurns::kinds == 1);
  CHECK(names<AllSame>() == names<AsStack>());
  CHECK(names<SameInTurns>() == names<AsStack>());
  STATIC_REQUIRE(param_count<AllSame> == param_count<AsStack>);
  STATIC_REQUIRE(flops_per_row<AllSame> == flops_per_row<AsStack>);
  STATIC_REQUIRE(saved_row_bytes<AllSame, Mode<float, true, true>>() ==
                 saved_row_bytes<AsStack, Mode<float, true, true>>());
  CHECK(testing::run_gradients<AllSame>() == testing::run_gradients<AsStack>());
  CHECK(testing::run_gradients<SameInTurns>() == testing::run_gradients<AsStack>());
}

TEST_CASE("Layers: layers with adapters are found at their own tensors") {
  std::vector<std::string> found;
  for_each_adapted_layer<Adapted>([&](auto, int first) { found.push_back(names<Adapted>()[first]); });
  CHECK(found == std::vector<std::string>{"layers.0.mlp.down_proj.weight", "layers.1.o_proj.weight",
                                          "layers.2.mlp.down_proj.weight"});
}

TEST_CASE("Layers: each kind in its places, backward matches finite differences") {
  STATIC_REQUIRE(Mixed::kinds == 2);
  STATIC_REQUIRE(param_count<Mixed> == 2 * param_count<Layer<6>> + param_count<Plain>);
  CHECK(names<Mixed>()[4] == "layers.1.norm.weight");
  check<Mixed>({.rows = 4});
  STATIC_REQUIRE(InTurns::count(0) == 4);
  STATIC_REQUIRE(param_count<InTurns> == 4 * param_count<Layer<6>> + param_count<Layer<4>>);
  check<InTurns>({.rows = 4});
}

TEST_CASE("Layers: adapters and recomputation reach every kind") {
  STATIC_REQUIRE(trainable_count<Adapted> == 2 * 2 * (6 + 8) + 2 * (8 + 8));
  check<Adapted>({.rows = 4});
  struct Model : Chain<Named<language_model, Mixed>> {};
  struct Again : RecomputeUnder<Model, language_model> {};
  CHECK(testing::run_gradients<Again>() == testing::run_gradients<Model>());
  STATIC_REQUIRE(saved_row_bytes<Again, Mode<float, true, true>>() == 2 * 8 * sizeof(float));
}

TEST_CASE("Layers: a tensor is found by its layer's number where the kinds have the same tensors") {
  struct Wide : Layers<layers, Layer<6>, Layer<4>> {};
  struct Model : Chain<Named<language_model, Wide>> {};
  constexpr auto found = tensors<Model>[language_model{}];
  constexpr auto down = found[layers{}[1]][mlp{}][down_proj{}];
  CHECK(names<Model>()[static_cast<std::size_t>(down.first)] == "language_model.layers.1.mlp.down_proj.weight");
  CHECK(testing::contains(testing::error_of([&] { found[layers{}[2]]; }), "there are 2 of them"));
}

TEST_CASE("Layers: the plan has a line for each kind, with its layers' numbers") {
  const std::string plan = describe<Mixed>();
  INFO(plan);
  CHECK(testing::contains(plan, "layers x 3"));
  CHECK(testing::contains(plan, "0 2"));
  CHECK(testing::contains(plan, "o_proj"));
}
