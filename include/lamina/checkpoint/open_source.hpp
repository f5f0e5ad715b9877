#pragma once
#include <lamina/checkpoint/adapter.hpp>
#include <lamina/checkpoint/config.hpp>
#include <lamina/checkpoint/model_source.hpp>
#include <lamina/model/registry.hpp>

/// Opens what model_source.hpp describes, and turns a config into facts that a composition can be compared with.
namespace lamina::checkpoint {

/// The layers of an adapter folder. Error for variants that only merging knows (DoRA, whole replaced tensors).
inline AdapterLayers read_adapter(const std::filesystem::path& dir) {
  const Adapter adapter = Adapter::load(dir);
  if (!adapter.replaced().empty())
    fail(dir.string(), ": the adapter replaces ", adapter.replaced().front().tensor,
         " whole (modules_to_save), which is supported by lamina-merge alone: merge it first");
  AdapterLayers layers;
  for (const LoraPair& pair : adapter.pairs()) {
    if (!pair.magnitude.empty())
      fail(dir.string(), ": a DoRA adapter can be merged with lamina-merge, not trained or served unmerged");
    layers[pair.module] = {pair.rank, static_cast<float>(pair.scale), adapter.read(pair.a), adapter.read(pair.b)};
  }
  return layers;
}

inline ModelSource open_source(const std::filesystem::path& model_dir,
                               const std::vector<std::filesystem::path>& folded) {
  ModelSource source{ModelConfig::load(model_dir), Checkpoint::open(model_dir), {}, {}};
  if (!source.config.quant_method.empty())
    fail(model_dir.string(), ": config.json has quantization_config (", source.config.quant_method,
         "); quantised weights are not supported: use the model's bf16 release");
  for (const auto& dir : folded) source.folded.push_back(read_adapter(dir));
  return source;
}

/// config.json's sizes as facts_of names a composition's.
inline std::vector<Fact> facts_of_config(const ModelConfig& c, bool tied) {
  const TextConfig& t = c.text_config;
  const VisionConfig& v = c.vision_config;
  std::vector<Fact> facts = {
      {"text_config.vocab_size", t.vocab_size},
      {"text_config.hidden_size", t.hidden_size},
      {"text_config.intermediate_size", t.intermediate_size},
      {"text_config.num_hidden_layers", t.num_hidden_layers},
      {"text_config.num_attention_heads", t.num_attention_heads},
      {"text_config.num_key_value_heads", t.num_key_value_heads},
      {"text_config.head_dim", t.head_dim},
      {"text_config.rope_theta", static_cast<std::int64_t>(t.rope_theta)},
      {"vision_config.depth", v.depth},
      {"vision_config.hidden_size", v.hidden_size},
      {"vision_config.intermediate_size", v.intermediate_size},
      {"vision_config.num_heads", v.num_heads},
      {"vision_config.out_hidden_size", v.out_hidden_size},
      {"in_channels * temporal_patch_size * patch_size^2",
       std::int64_t{v.in_channels} * v.temporal_patch_size * v.patch_size * v.patch_size},
      {"vision_config.spatial_merge_size", v.spatial_merge_size},
      {"tie_word_embeddings", tied},
  };
  if (v.num_position_embeddings > 0)
    facts.push_back({"vision_config.num_position_embeddings", v.num_position_embeddings});
  for (std::size_t k = 0; k < v.deepstack_visual_indexes.size(); ++k)
    facts.push_back(
        {"vision_config.deepstack_visual_indexes[" + std::to_string(k) + "]", v.deepstack_visual_indexes[k]});
  for (int i : v.fullatt_block_indexes)
    facts.push_back({"vision_config.fullatt_block_indexes has " + std::to_string(i), 1});
  return facts;
}

}  // namespace lamina::checkpoint
