#include <lamina/fuse.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/kernel/cuda.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_moe/model.hpp>
#include <lamina/testing/backend_check.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {
// clang-format off
LAMINA_NAME(gate_proj); LAMINA_NAME(up_proj); LAMINA_NAME(down_proj); LAMINA_NAME(norm1); LAMINA_NAME(norm2); LAMINA_NAME(mlp);
LAMINA_NAME(self_attn);
struct Mlp : SwiGLU<Named<gate_proj, Linear<64, 192>>, Named<up_proj, Linear<64, 192>>, Named<down_proj, Linear<192, 64>>> {};
struct SelfAttention : Attention<Heads<4, 2, 64>, Causal, InterleavedMRoPE<10000, Section<12, 10, 10>>,
    Named<name::q_proj, Linear<64, 256>>, Named<name::q_norm, RMSNorm<64>>, Named<name::k_proj, Linear<64, 128>>,
    Named<name::k_norm, RMSNorm<64>>, Named<name::v_proj, Linear<64, 128>>, Named<name::o_proj, Linear<256, 64>>> {};
struct Layer : Chain<Residual<Named<norm1, RMSNorm<64>>, Named<self_attn, SelfAttention>>,
                     Residual<Named<norm2, RMSNorm<64>>, Named<mlp, Mlp>>> {};
// clang-format on

struct Mixture {
  static constexpr int hidden_size = 64, moe_intermediate_size = 48, num_experts = 16, num_experts_per_tok = 3;
};
using Sparse = qwen3_moe::SparseMLP<Mixture>;
namespace tags = qwen_vl::tags;
struct FoldedSparse
    : fused_for<Cuda, LoRA<Sparse, Rank<8>, Alpha<16>, Targets<tags::gate_proj, tags::up_proj, tags::down_proj>>> {};

LAMINA_NAME(query);
struct Resampler : Cross<Heads<2, 1, 32>, Chain<Named<query, Latents<12, 48>>, Named<name::q_proj, Linear<48, 64>>>,
                         Fork<Named<name::k_proj, Linear<64, 32>>, Named<name::v_proj, Linear<64, 32>>>,
                         Chain<Named<name::o_proj, Linear<64, 48>>, Named<norm1, LayerNorm<48>>>> {};
struct FoldedResampler
    : fused_for<Cuda, LoRA<Resampler, Rank<8>, Alpha<16>, Targets<name::k_proj, name::v_proj, name::o_proj>>> {};

/// One whose backward is wrong on a GPU alone.
template <class L>
struct Elsewhere : L {
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    L::backward(run, p, saved, dy, dx);
    if constexpr (std::is_same_v<typename R::backend, Cuda>)
      if (dx) kernel::add<Cuda>::forward(run.stream, kernel::Add<typename R::T>{.x = dy, .y = dx});
  }
};

template <class L, class T>
void check_same(int rows = 96) {
  const testing::BackendReport report = testing::check_backends<L, T>({.rows = rows});
  INFO(report.text());
  CHECK(report.passed());
  CHECK(report.quantities.size() > 2);
}
}  // namespace

TEST_CASE("check_backends: the CPU and a GPU compute the same") {
  check_same<Layer, float>();
  check_same<Layer, bf16>();
  check_same<Chain<Named<norm1, LayerNorm<64>>, Gelu::layer<64>, Named<gate_proj, Linear<64, 40, Bias>>>, f16>();
}
TEST_CASE("check_backends: the CPU and a GPU compute the same of DoRA's layer") {
  check_same<DoraLinear<Linear<64, 96, Bias>, Rank<8>, Alpha<16>>, float>();
  check_same<DoraLinear<Linear<64, 96>, Rank<Dyn>, Alpha<Dyn>>, bf16>();
}
TEST_CASE("check_backends: the CPU and a GPU compute the same of a mixture of experts") {
  check_same<Sparse, float>();
  check_same<fused_for<Cuda, Sparse>, float>();
  check_same<FoldedSparse, bf16>(9);  // few rows: rounding must not change which experts a row goes to
}
TEST_CASE("check_backends: the CPU and a GPU compute the same of a resampler") {
  check_same<Resampler, float>();
  check_same<FoldedResampler, bf16>();
}
TEST_CASE("check_backends: names what differs") {
  CHECK(testing::check_backends<Elsewhere<Linear<64, 64>>>().wrong() == std::vector<std::string>{"dx"});
}
