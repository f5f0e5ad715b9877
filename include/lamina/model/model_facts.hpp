#pragma once
#include <string>
#include <vector>

#include <lamina/checkpoint/tensors.hpp>
#include <lamina/model/config/model_config.hpp>
#include <lamina/model/registry.hpp>

/// A model directory's config as facts that a composition's can be compared with.
namespace lamina {

/// The tensor of a head of its own.
inline std::string head_tensor(const Family& family) { return std::string(family.regions.head) + ".weight"; }

/// Whether the output head is the embedding itself: the file says so, and the weights hold no head of their own (or
/// one that equals the embedding, as some trainers save it).
inline bool tied_head(const ModelConfig& config, const checkpoint::Checkpoint& weights) {
  if (!config.tie_word_embeddings) return false;
  const std::string own = head_tensor(*config.family);
  return !weights.find(own) || checkpoint::are_copies(weights, own, cat(config.family->regions.embedding, ".weight"));
}

namespace detail {
inline void add_tower_facts(const TowerConfig& v, std::vector<Fact>& facts) {
  facts.insert(facts.end(), {
                                {"vision_config.depth", v.depth},
                                {"vision_config.hidden_size", v.hidden_size},
                                {"vision_config.intermediate_size", v.intermediate_size},
                                {"vision_config.hidden_act", v.hidden_act},
                                {"vision_config.num_heads", v.num_heads},
                                {"vision_config.out_hidden_size", v.out_hidden_size},
                                {"vision_config.in_channels", v.in_channels},
                                {"vision_config.temporal_patch_size", v.temporal_patch_size},
                                {"vision_config.patch_size", v.patch_size},
                                {"vision_config.spatial_merge_size", v.spatial_merge_size},
                            });
  if (v.num_position_embeddings > 0)
    facts.push_back({"vision_config.num_position_embeddings", v.num_position_embeddings});
  for (std::size_t k = 0; k < v.deepstack_visual_indexes.size(); ++k)
    facts.push_back(
        {"vision_config.deepstack_visual_indexes[" + std::to_string(k) + "]", v.deepstack_visual_indexes[k]});
  if (v.window_size > 0)
    facts.emplace_back(std::string(window_cells), v.window_size / v.patch_size / v.spatial_merge_size);
  for (int i : v.fullatt_block_indexes)
    facts.push_back({"vision_config.fullatt_block_indexes has " + std::to_string(i), 1});
}
}  // namespace detail

/// config.json's fields as facts_of names a composition's.
inline std::vector<Fact> facts_of_config(const ModelConfig& c, bool tied) {
  const DecoderConfig& t = c.text_config;
  std::vector<Fact> facts = {
      {"text_config.vocab_size", t.vocab_size},
      {"text_config.hidden_size", t.hidden_size},
      {"text_config.hidden_act", t.hidden_act},
      {"text_config.rms_norm_eps", t.rms_norm_eps},
      {"text_config.num_hidden_layers", t.num_hidden_layers},
      {"text_config.num_attention_heads", t.num_attention_heads},
      {"text_config.num_key_value_heads", t.num_key_value_heads},
      {"text_config.head_dim", t.head_dim},
      {"text_config.rope_theta", t.rope_theta},
      {"tie_word_embeddings", tied},
  };
  if (t.num_experts == 0)
    facts.emplace_back("text_config.intermediate_size", t.intermediate_size);
  else
    detail::add_expert_facts(t.num_experts, t.num_experts_per_tok, t.moe_intermediate_size, t.norm_topk_prob, facts);
  if (!t.sliding_layers.empty()) facts.emplace_back("text_config.sliding_window", t.sliding_window);
  for (const int i : t.sliding_layers) facts.push_back(detail::slides(i));
  if (!c.family->config.reads_images) return facts;
  facts.push_back({"text_config.mrope_section", {t.mrope_section[0], t.mrope_section[1], t.mrope_section[2]}});
  facts.emplace_back("text_config.mrope_interleaved", t.mrope_interleaved);
  detail::add_tower_facts(c.vision_config, facts);
  return facts;
}

}  // namespace lamina
