#include <lamina/compose.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/layer.hpp>
#include <lamina/testing/gradient_check.hpp>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::name;

// clang-format off
LAMINA_NAME(gate_proj); LAMINA_NAME(up_proj); LAMINA_NAME(down_proj); LAMINA_NAME(linear_fc1); LAMINA_NAME(linear_fc2);
LAMINA_NAME(input_layernorm); LAMINA_NAME(post_attention_layernorm); LAMINA_NAME(norm);
LAMINA_NAME(self_attn); LAMINA_NAME(mlp); LAMINA_NAME(layers);
struct TinyMLP : SwiGLU<Named<gate_proj, Linear<8, 6>>, Named<up_proj, Linear<8, 6>>, Named<down_proj, Linear<6, 8>>> {};
struct TinyAttention : Attention<Heads<2, 1, 8>, Causal, InterleavedMRoPE<10000, Section<2, 1, 1>>,
    Named<q_proj, Linear<8, 16>>, Named<q_norm, RMSNorm<8>>, Named<k_proj, Linear<8, 8>>, Named<k_norm, RMSNorm<8>>,
    Named<v_proj, Linear<8, 8>>, Named<o_proj, Linear<16, 8>>> {};
struct TinyLayer : Chain<Residual<Named<input_layernorm, RMSNorm<8>>, Named<self_attn, TinyAttention>>,
                         Residual<Named<post_attention_layernorm, RMSNorm<8>>, Named<mlp, TinyMLP>>> {};
template <class L>
struct TinyStack : Stack<layers, 2, L> {};
// clang-format on

using Training = Mode<float, true, true>;

template <class Model>
testing::GradientReport check(const testing::GradientOptions& options = {}) {
  const testing::GradientReport report = testing::check_gradients<Model>(options);
  INFO(report.text());
  CHECK(report.passed());
  return report;
}
bool has(const testing::GradientReport& report, const std::string& name) {
  for (const auto& q : report.quantities)
    if (q.name == name) return true;
  return false;
}

TEST_CASE("Chain: backward matches finite differences") {
  check<Chain<Named<norm, LayerNorm<6>>, Named<linear_fc1, Linear<6, 10, Bias>>, Gelu::layer<10>,
              Named<linear_fc2, Linear<10, 4>>>>();
}
TEST_CASE("Fork: backward matches finite differences") {
  check<Fork<Named<q_proj, Linear<6, 4>>, Named<k_proj, Linear<6, 2, Bias>>, Named<v_proj, Linear<6, 2>>>>();
}
TEST_CASE("Residual: backward matches finite differences") {
  check<Residual<Named<norm, RMSNorm<8>>, Named<mlp, TinyMLP>>>();
}
TEST_CASE("Attention: backward matches finite differences") { check<TinyAttention>(); }
TEST_CASE("Stack: backward matches finite differences through every layer") {
  const auto report = check<TinyStack<TinyLayer>>({.rows = 4});
  CHECK(has(report, "layers.0.self_attn.q_norm.weight"));
  CHECK(has(report, "layers.1.mlp.down_proj.weight"));
}
TEST_CASE("Merger: backward matches finite differences, rows joined before the norm and after it") {
  check<Merger<2, NormAt::patch, Named<norm, LayerNorm<4>>, Named<linear_fc1, Linear<16, 8, Bias>>, Gelu,
               Named<linear_fc2, Linear<8, 4, Bias>>>>({.rows = 2});
  check<Merger<2, NormAt::merged, Named<norm, LayerNorm<16>>, Named<linear_fc1, Linear<16, 8, Bias>>, Gelu,
               Named<linear_fc2, Linear<8, 4, Bias>>>>({.rows = 2});
}

TEST_CASE("LoRA: backward matches finite differences, and only the adapters have gradients") {
  const auto report = check<LoRA<TinyStack<TinyLayer>, Rank<2>, Alpha<4>, Targets<q_proj, down_proj>>>({.rows = 4});
  CHECK(report.quantities.size() == 1 + 2 * 2 * 2);  // dx; A and B of two targets in two layers
  CHECK(has(report, "layers.1.mlp.down_proj.lora_B.weight"));
}

TEST_CASE("Frozen: nothing is saved below which nothing learns, and no parameter has a gradient") {
  using Head = Mode<float, true, false>;  // the input needs no gradient
  STATIC_REQUIRE(saved_row_bytes<Frozen<TinyStack<TinyLayer>>, Head>() == 0);
  STATIC_REQUIRE(saved_row_bytes<Chain<Frozen<TinyLayer>, Named<norm, RMSNorm<8>>>, Head>() ==
                 saved_row_bytes<RMSNorm<8>, Head>() + 8 * sizeof(float));  // the norm's input stays
  STATIC_REQUIRE(saved_row_bytes<TinyLayer, Head>() > 0);
  STATIC_REQUIRE(trainable_count<Frozen<TinyLayer>> == 0);
  CHECK(check<Frozen<TinyLayer>>().quantities.size() == 1);
  const auto report = check<Chain<Named<mlp, TinyMLP>, Frozen<Named<self_attn, TinyAttention>>>>();
  CHECK(has(report, "mlp.up_proj.weight"));
  CHECK_FALSE(has(report, "self_attn.q_proj.weight"));
}

TEST_CASE(
    "Recompute: the gradients of a stack are those without it, bit by bit, and it saves its layers' inputs alone") {
  check<TinyStack<Recompute<TinyLayer>>>({.rows = 4});
  CHECK(testing::run_gradients<TinyStack<Recompute<TinyLayer>>>() == testing::run_gradients<TinyStack<TinyLayer>>());
  STATIC_REQUIRE(saved_row_bytes<TinyStack<Recompute<TinyLayer>>, Training>() ==
                 8 * sizeof(float));  // between two layers
  STATIC_REQUIRE(saved_row_bytes<TinyStack<TinyLayer>, Training>() > 8 * 8 * sizeof(float));
}
