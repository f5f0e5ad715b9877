#include <lamina/fuse.hpp>
#include <lamina/fuse/describe.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {
struct Plain : LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<16>, Alpha<32>, Within<qwen3_vl::language_model>> {};
struct Fused : fused_for<Cpu, Plain> {};
using Full = qwen3_vl::Qwen3VL_Tiny;

// A decoder layer keeps, in floats: its input and normed x, q|k|v and o with 4 log-sum-exps, s and normed s, gate|up
// and (unfused) the activation, and 1/rms twice.  The model keeps besides: embedded and last, 1/rms.
constexpr int layer_floats = 256 * 2 + 1024 + 512 + 4 + 256 * 2 + 2 * 768 + 2;
static_assert(saved_bytes_per_token<Fused> == 4 * (4 * layer_floats - 256 + 2 * 256 + 1));
static_assert(saved_bytes_per_token<Plain> - saved_bytes_per_token<Fused> == 4 * 4 * 768);
static_assert(saved_bytes_per_patch<Fused> == 0 && saved_bytes_per_patch<Full> > 0);
// q, k, v, o, gate, up and down with adapters of rank 16; the head
constexpr std::int64_t adapted(int in, int out) { return 2 * (in * out + 16 * (in + out)); }
constexpr std::int64_t decoder =
    adapted(256, 512) + 2 * adapted(256, 256) + adapted(512, 256) + 2 * adapted(256, 768) + adapted(768, 256);
static_assert(flops_per_token<Plain> == 4 * decoder + 2 * 256 * 4096 &&
              flops_per_token<Fused> == flops_per_token<Plain>);
// blocks, then four mergers, which see a quarter of the rows
constexpr std::int64_t block = 2 * 256 * (768 + 256 + 512 + 512), merger = 2 * (1024 * 1024 + 1024 * 256) / 4;
static_assert(flops_per_patch<Full> == 2 * 1536 * 256 + 4 * block + 4 * merger);

/// The lines of a plan whose first word is `name`, with runs of spaces as one.
std::vector<std::string> lines_of(const std::string& plan, const std::string& name) {
  std::vector<std::string> out;
  std::istringstream in(plan);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string joined;
    for (std::string word; words >> word;) (joined += joined.empty() ? "" : " ") += word;
    if (joined.starts_with(name + " ")) out.push_back(joined);
  }
  return out;
}
using Lines = std::vector<std::string>;
}  // namespace

TEST_CASE("describe: shapes, parameters, saved bytes and launches of Qwen3-VL tiny with adapters") {
  const std::string plan = describe<Plain>();
  CHECK(plan.starts_with("13166592 parameters, 360448 learn; saved: 78948 bytes a token, 0 a patch; "));
  CHECK(lines_of(plan, "layers") == Lines{"layers x 4 4295680 360448 76896 add x2 | add x2"});
  CHECK(lines_of(plan, "q_proj") == Lines{"q_proj AdaptedLinear 256 -> 512 143360 12288 0 matmul_fwd x3 | "
                                          "matmul_bwd_input x3 matmul_fwd matmul_bwd_weight x2"});
  CHECK(lines_of(plan, "mlp") ==
        Lines{"mlp 262912 0 0 activation_fwd |", "mlp 638976 49152 9216 silu_gate_fwd | silu_gate_bwd add"});
  CHECK(lines_of(plan, "post_attention_layernorm") ==
        Lines{"post_attention_layernorm RMSNorm 256 256 0 4 rms_norm_fwd | rms_norm_bwd"});
  CHECK(lines_of(plan, "embed_tokens") == Lines{"embed_tokens Embedding 4096 -> 256 1048576 0 0 embedding_fwd |"});
  CHECK(lines_of(plan, "lm_head") == Lines{"lm_head head 256 -> 4096, tied 0 0 0 head_loss |"});
}

TEST_CASE("describe: what fusion changes, and nothing else") {
  const std::string plan = describe<Fused>();
  CHECK(plan.starts_with("13166592 parameters, 360448 learn; saved: 66660 bytes a token, 0 a patch; "));
  CHECK(lines_of(plan, "layers") == Lines{"layers x 4 4295680 360448 64608 add |"});
  CHECK(lines_of(plan, "q_proj+k_proj+v_proj") ==
        Lines{"q_proj+k_proj+v_proj Joint 256 -> 1024 0 0 0 matmul_fwd | matmul_bwd_input"});
  CHECK(lines_of(plan, "q_proj") == Lines{"q_proj AdaptedLinear 256 -> 512 143360 12288 0 matmul_fwd x2 | "
                                          "matmul_bwd_input x2 matmul_fwd matmul_bwd_weight x2"});
  CHECK(lines_of(plan, "gate_proj+up_proj") ==
        Lines{"gate_proj+up_proj Joint 256 -> 1536 0 0 0 matmul_fwd | matmul_bwd_input"});
  CHECK(lines_of(plan, "mlp")[1] == "mlp 638976 49152 6144 silu_gate_fwd | silu_gate_fwd silu_gate_bwd");
  CHECK(lines_of(plan, "input_layernorm") ==
        Lines{"input_layernorm RMSNorm 256 256 0 4 rms_norm_fwd | add_rms_norm_bwd"});
  CHECK(lines_of(plan, "post_attention_layernorm") ==
        Lines{"post_attention_layernorm RMSNorm 256 256 0 4 add_rms_norm_fwd | add_rms_norm_bwd"});
  CHECK(lines_of(plan, "blocks") == Lines{"blocks x 4 2108416 0 0"});
}
