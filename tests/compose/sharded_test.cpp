#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <string>

#include <lamina/compose/sharded.hpp>
#include <lamina/fuse.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {
template <class M, int N>
struct Part : Sharded<M, N> {};
using Half = Part<qwen3_vl::Qwen3VL_8B, 2>;
using Core = find_t<typename Half::Language, detail::HasHeads>;

template <class M>
constexpr bool divide(std::initializer_list<int> good, std::initializer_list<int> bad) {
  return std::all_of(good.begin(), good.end(), divides_among<M>) &&
         std::none_of(bad.begin(), bad.end(), divides_among<M>);
}
static_assert(divide<qwen3_vl::Qwen3VL_8B>({1, 2, 4, 8, 16, 32}, {3, 5, 6, 64}));  // 32 heads share 8
static_assert(divide<qwen2_5_vl::Qwen2_5VL_7B>({2, 4}, {7, 8, 14, 28}));           // 28 share 4
static_assert(divide<qwen2_5_vl::Qwen2_5VL_3B>({2, 4, 8, 16}, {3}));               // 16 share 2
static_assert(divide<qwen3_vl::Qwen3VL_Nano>({1}, {2, 3, 4}));                     // 3 share 1; 320 tokens
static_assert(rank_count<Half> == 2 && rank_count<qwen3_vl::Qwen3VL_8B> == 1);
static_assert(std::is_same_v<Core::HeadsOf, Heads<16, 4, 128>>);
static_assert(Half::hidden_size == 4096 && Half::vocab_size == 151936 && Half::Head::Out::width == 151936 / 2);
// Tower, projector, embedding and norms are whole; half of all else.
constexpr std::int64_t whole =
    param_count<typename Half::Visual> + std::int64_t{151936} * 4096 + 4096 + 36 * (2 * 4096 + 2 * 128);
static_assert(2 * (param_count<Half> - whole) == param_count<qwen3_vl::Qwen3VL_8B> - whole);

/// "rows", "columns" or "" for each tensor of the first decoder layer and for the head.
template <class M>
std::map<std::string, std::string> parts() {
  std::map<std::string, std::string> out;
  const std::string layer = "model.language_model.layers.0.";
  for_each_tensor<M>([&](const TensorSpec& spec) {
    const std::string name(spec.path.view());
    if (!name.starts_with(layer) && name != "lm_head.weight") return;
    out[name.starts_with(layer) ? name.substr(layer.size()) : name] = spec.row_shards > 1      ? "rows"
                                                                      : spec.column_shards > 1 ? "columns"
                                                                                               : "";
  });
  return out;
}
}  // namespace

TEST_CASE("Sharded: which tensors a rank has a part of, and of what; their names stay") {
  const std::map<std::string, std::string> wanted = {
      {"input_layernorm.weight", ""},      {"post_attention_layernorm.weight", ""}, {"self_attn.q_proj.weight", "rows"},
      {"self_attn.k_proj.weight", "rows"}, {"self_attn.v_proj.weight", "rows"},     {"self_attn.q_norm.weight", ""},
      {"self_attn.k_norm.weight", ""},     {"self_attn.o_proj.weight", "columns"},  {"mlp.gate_proj.weight", "rows"},
      {"mlp.up_proj.weight", "rows"},      {"mlp.down_proj.weight", "columns"},     {"lm_head.weight", "rows"}};
  CHECK(parts<Half>() == wanted);
  struct Fused : fused_for<Cuda, Half> {};
  CHECK(parts<Fused>() == wanted);
  struct Held : fused_for<Cuda, Sharded<ScaledStream<qwen3_vl::Qwen3VL_8B, -8>, 2>> {};
  CHECK(parts<Held>() == wanted);
}

TEST_CASE("Sharded: more ranks than key/value heads, of which neighbours have the same") {
  using Eighth = Part<qwen2_5_vl::Qwen2_5VL_3B, 8>;
  static_assert(std::is_same_v<find_t<typename Eighth::Language, detail::HasHeads>::HeadsOf, Heads<2, 1, 128>>);
  std::map<std::string, std::array<int, 3>> seen;  // rows here, parts of the file's, ranks that share a part
  for_each_tensor<Eighth>([&](const TensorSpec& spec) {
    const std::string name(spec.path.view()), attention = "layers.0.self_attn.";
    if (const std::size_t at = name.find(attention); at != std::string::npos && !name.starts_with("visual"))
      seen[name.substr(at + attention.size())] = {spec.extents[0], spec.row_shards, spec.shard_copies};
  });
  const std::array<int, 3> q = {256, 8, 1}, kv = {128, 2, 4};
  CHECK(seen["q_proj.weight"] == q);
  for (const char* name : {"k_proj.weight", "k_proj.bias", "v_proj.weight", "v_proj.bias"}) {
    CAPTURE(name);
    CHECK(seen[name] == kv);
  }
}

TEST_CASE("Sharded: a bias goes with its rows") {
  int biases = 0;
  for_each_tensor<Part<qwen2_5_vl::Qwen2_5VL_7B, 4>>([&](const TensorSpec& spec) {
    if (spec.row_shards == 1 || spec.rank > 1) return;
    ++biases;
    CHECK(spec.row_shards == 4);
    CHECK(spec.column_shards == 1);
    CHECK(spec.count() == (spec.path.view().find("q_proj") != std::string_view::npos ? 28 : 4) * 128 / 4);
  });
  CHECK(biases == 3 * 28);
}
