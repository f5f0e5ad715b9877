#include <lamina/fuse.hpp>
#include <lamina/fuse/describe.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen3_moe/model.hpp>
#include <lamina/testing/backend_check.hpp>
#include <lamina/testing/generation_check.hpp>
#include <lamina/testing/gradient_check.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::qwen3_moe;

namespace {

struct Small {
  static constexpr int hidden_size = 8, moe_intermediate_size = 6, num_experts = 4, num_experts_per_tok = 2;
};
struct Adapted : LoRA<SparseMLP<Small>, Rank<2>, Alpha<4>, Targets<down_proj, gate>> {};
struct Weighed : DoRA<SparseMLP<Small>, Rank<2>, Alpha<4>, Targets<down_proj>> {};
struct Folded : fused_for<Cuda, LoRA<SparseMLP<Small>, Rank<2>, Alpha<4>, Targets<gate_proj, up_proj, down_proj>>> {};
struct Unnormalised : Routed<Named<gate, Linear<8, 4>>, Experts<4, Expert<Small>>, TopK<2, false>> {};

template <class M>
void check() {
  const testing::GradientReport report = testing::check_gradients<M>({.rows = 5});
  INFO(report.text());
  CHECK(report.passed());
}

}  // namespace

TEST_CASE("Routed: backward matches finite differences, of experts, router and adapters") {
  check<SparseMLP<Small>>();
  check<Unnormalised>();
  check<Adapted>();
}

TEST_CASE("Routed: parameters are those of all experts, arithmetic that of the chosen ones") {
  STATIC_REQUIRE(param_count<SparseMLP<Small>> == 8 * 4 + 4 * param_count<Expert<Small>>);
  STATIC_REQUIRE(flops_per_row<SparseMLP<Small>> == 2 * 8 * 4 + 2 * flops_per_row<Expert<Small>>);
  STATIC_REQUIRE(trainable_count<Adapted> == 2 * (8 + 4) + 4 * 2 * (6 + 8));
  const std::string plan = describe<SparseMLP<Small>>();
  for (const char* part : {"experts x 4", "grouped_matmul_fwd", "route_choose route_sort"})
    CHECK(testing::contains(plan, part));
}

TEST_CASE("Routed: a model with experts generates as it trains") {
  const testing::GenerationReport report = testing::check_generation<Qwen3Moe_Tiny>();
  INFO(report.text());
  CHECK(report.passed());
}

TEST_CASE("Routed: magnitudes on experts are refused by name, before anything runs") {
  CHECK(testing::contains(testing::error_of([] { describe<Weighed>(); }), "DoRA (use_dora): experts"));
}

TEST_CASE("Routed: experts whose adapters are folded into their matrices compute the same") {
  const testing::BackendReport report = testing::check_backends<Folded, bf16, Cpu>({.rows = 9});
  INFO(report.text());
  CHECK(report.passed());
}
