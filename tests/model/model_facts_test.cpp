#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/model/families.hpp>
#include <lamina/model/model_facts.hpp>
#include <lamina/model/model_source.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_moe/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::checkpoint;

namespace {
template <class Model>
void check_released(const std::string& layout) {
  Scratch dir;
  spill(dir / "config.json", slurp(golden("layouts/" + layout + ".json")));
  const ModelConfig config = ModelConfig::load(dir.dir());
  CHECK(differences(facts_of_config(config, config.tie_word_embeddings), facts_of<Model>(), layout).empty());
}

/// A decoder whose gate says what config.json calls it.
template <int W>
struct ReluGate : SiluGate<W> {
  static constexpr std::string_view hidden_act = "relu";
};
struct OwnGate
    : Chain<Fork<Named<name::weight, Linear<4, 8>>, Named<name::bias, Linear<4, 8>>>, ReluGate<8>, Linear<8, 4>> {};
static_assert(lamina::detail::hidden_act<lamina::detail::MlpOf<OwnGate>::type>() == "relu");
static_assert(lamina::detail::MlpOf<OwnGate>::intermediate_size == 8);
}  // namespace

TEST_CASE("facts: those of each released config.json are its type's") {
  check_released<qwen3_vl::Qwen3VL_2B>("qwen3_vl_2b_released");
  check_released<qwen2_5_vl::Qwen2_5VL_3B>("qwen2_5_vl_3b_released");
  check_released<qwen2_5_vl::Qwen2_5VL_7B>("qwen2_5_vl_7b_resaved_v5");
}

TEST_CASE("facts: values that the type does not hold are named with both sides") {
  Scratch dir;
  spill(dir / "config.json", slurp(golden("layouts/qwen3_vl_2b_released.json")));
  ModelConfig config = ModelConfig::load(dir.dir());
  config.text_config.rms_norm_eps = 5;
  config.text_config.hidden_act = "gelu";
  config.text_config.mrope_section = {16, 24, 24};
  config.text_config.mrope_interleaved = false;
  config.text_config.rope_theta = 5000000.5;
  config.vision_config.hidden_act = "gelu";
  CHECK(differences(facts_of_config(config, true), facts_of<qwen3_vl::Qwen3VL_2B>(), "2b") ==
        std::vector<std::string>{"text_config.hidden_act is gelu, 2b has silu",
                                 "text_config.rms_norm_eps is 5, 2b has 1e-06",
                                 "text_config.rope_theta is 5000000.5, 2b has 5000000",
                                 "text_config.mrope_section is [16, 24, 24], 2b has [24, 20, 20]",
                                 "text_config.mrope_interleaved is false, 2b has true",
                                 "vision_config.hidden_act is gelu, 2b has gelu_pytorch_tanh"});
}

TEST_CASE("tied_head: tied needs the flag and no head of its own in the weights") {
  const Checkpoint tied = Checkpoint::open(golden("tiny3"), qwen_vl::names),
                   untied = Checkpoint::open(golden("tiny2_5"), qwen_vl::names);
  ModelConfig config = ModelConfig::load(golden("tiny3"));
  CHECK(config.tie_word_embeddings);
  CHECK(tied_head(config, tied));
  CHECK(!tied_head(config, untied));  // a flag that the weights contradict
  config.tie_word_embeddings = false;
  CHECK(!tied_head(config, tied));
}

TEST_CASE("quantised experts are refused where a GPU would compute, before anything is loaded") {
  ModelSource source;
  source.config.family = &qwen3_moe::family;
  for (const TensorSpec& tensor : list_tensors<qwen3_moe::Qwen3Moe_Tiny>()) {
    INFO(tensor.path.view());
    if (!tensor.takes_row_terms) continue;
    CHECK(frozen_storage(tensor, source, Quantization::fp8_rows(), false));
    const std::string error =
        testing::error_of([&] { static_cast<void>(frozen_storage(tensor, source, Quantization::fp8_rows(), true)); });
    CHECK(testing::contains(error, "have no GPU kernels") == tensor.mixture);
  }
}
