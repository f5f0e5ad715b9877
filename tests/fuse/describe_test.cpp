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
// what the plan below says of a decoder layer, its q_proj and its MLP; norms, q|k|v and the attention's output are
// floats
static_assert(4 * decoder == 8585216 && adapted(256, 512) == 286720);
static_assert(2 * adapted(256, 768) + adapted(768, 256) == 1277952);
static_assert(4 * (2 * (256 + 768) + (2 * 768 + 768) + (768 + 256)) == 21504);

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
  CHECK(lines_of(plan, "layers") == Lines{"layers x 4 4295680 360448 76896 8585216 167936 add x2 | add x2"});
  CHECK(lines_of(plan, "q_proj") == Lines{"q_proj AdaptedLinear 256 -> 512 143360 12288 0 286720 3072 matmul_fwd x3 | "
                                          "matmul_bwd_input x3 matmul_fwd matmul_bwd_weight x2"});
  CHECK(lines_of(plan, "mlp") == Lines{"mlp 262912 0 0 524288 10240 activation_fwd |",
                                       "mlp 638976 49152 9216 1277952 21504 silu_gate_fwd | silu_gate_bwd add"});
  CHECK(lines_of(plan, "post_attention_layernorm") ==
        Lines{"post_attention_layernorm RMSNorm 256 256 0 4 0 2048 rms_norm_fwd | rms_norm_bwd"});
  CHECK(lines_of(plan, "embed_tokens") ==
        Lines{"embed_tokens Embedding 4096 -> 256 1048576 0 0 0 1028 embedding_fwd |"});
  CHECK(lines_of(plan, "lm_head") == Lines{"lm_head head 256 -> 4096, tied 0 0 0 2097152 0 head_loss |"});
}

TEST_CASE("describe: what fusion changes, and nothing else") {
  const std::string plan = describe<Fused>();
  CHECK(plan.starts_with("13166592 parameters, 360448 learn; saved: 66660 bytes a token, 0 a patch; "));
  CHECK(lines_of(plan, "layers") == Lines{"layers x 4 4295680 360448 64608 8585216 167936 add |"});
  CHECK(lines_of(plan, "q_proj+k_proj+v_proj") ==
        Lines{"q_proj+k_proj+v_proj Joint 256 -> 1024 0 0 0 0 0 matmul_fwd | matmul_bwd_input"});
  CHECK(lines_of(plan, "q_proj") == Lines{"q_proj AdaptedLinear 256 -> 512 143360 12288 0 286720 3072 matmul_fwd x2 | "
                                          "matmul_bwd_input x2 matmul_fwd matmul_bwd_weight x2"});
  CHECK(lines_of(plan, "gate_proj+up_proj") ==
        Lines{"gate_proj+up_proj Joint 256 -> 1536 0 0 0 0 0 matmul_fwd | matmul_bwd_input"});
  CHECK(lines_of(plan, "mlp")[1] == "mlp 638976 49152 6144 1277952 21504 silu_gate_fwd | silu_gate_fwd silu_gate_bwd");
  CHECK(lines_of(plan, "input_layernorm") ==
        Lines{"input_layernorm RMSNorm 256 256 0 4 0 2048 rms_norm_fwd | add_rms_norm_bwd"});
  CHECK(lines_of(plan, "post_attention_layernorm") ==
        Lines{"post_attention_layernorm RMSNorm 256 256 0 4 0 2048 add_rms_norm_fwd | add_rms_norm_bwd"});
  CHECK(lines_of(plan, "blocks") == Lines{"blocks x 4 2108416 0 0 4194304 98304"});
}

TEST_CASE("describe: how frozen matrices are stored") {
  const auto of_decoder = [](const TensorSpec& tensor) {
    const bool tower = tensor.path.view().starts_with("model.visual.");
    return tower ? Quantization{} : Quantization::four_bit(Quantization::Code::nf4, true);
  };
  const std::string plan = describe<Fused>({.stored = of_decoder});
  CHECK(lines_of(plan, "q_proj")[0].starts_with("q_proj AdaptedLinear 256 -> 512, nf4, double quantised 143360 12288"));
  CHECK(lines_of(plan, "qkv")[0].starts_with("qkv Linear 256 -> 768 "));
  CHECK(lines_of(plan, "embed_tokens")[0].starts_with("embed_tokens Embedding 4096 -> 256 "));
}

TEST_CASE("describe: a layer or a composition by itself, as a table, as JSON and as a chart") {
  using Layer = at<typename Full::Stack_::children, 0>;
  CHECK(describe<Linear<8, 4>>().starts_with(
      "32 parameters, 32 learn; saved: 0 bytes a row; forward: 64 FLOP, 48 bytes a row\n"));
  CHECK(lines_of(describe<Linear<8, 4>>(), "Linear") ==
        Lines{"Linear Linear 8 -> 4 32 32 0 64 48 matmul_fwd | matmul_bwd_input matmul_bwd_weight"});
  const std::string plan = describe<Layer>();
  CHECK(lines_of(plan, "gate_proj") == Lines{"gate_proj Linear 256 -> 768 196608 196608 0 393216 4096 matmul_fwd | "
                                             "matmul_bwd_input matmul_bwd_weight"});
  CHECK(lines_of(plan, "TextDecoderLayer")[0].starts_with("TextDecoderLayer 983808 983808 18456 1966080 "));
  const std::string json = describe<Layer>({}, PlanFormat::json);
  CHECK(json.find("{\"depth\": 2, \"name\": \"gate_proj\", \"what\": \"Linear 256 -> 768\", \"parameters\": 196608, "
                  "\"learning\": 196608, \"saved_bytes\": 0, \"flops\": 393216, \"bytes\": 4096, "
                  "\"forward\": \"matmul_fwd\", \"backward\": \"matmul_bwd_input matmul_bwd_weight\"}") !=
        std::string::npos);
  const std::string chart = describe<Layer>({}, PlanFormat::mermaid);
  CHECK(chart.starts_with("flowchart LR\n  m0[\"TextDecoderLayer<br/>983808 parameters\"]\n  m1[\"input_layernorm"));
  CHECK(chart.find("m10[\"mlp<br/>589824 parameters\"]\n  m0 --> m10\n") != std::string::npos);
}
