#pragma once
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/model/family.hpp>

/// What config.json says, under its own names, free of any layout. Reading it is in model/config/read.hpp.
namespace lamina {

/// The language decoder.
struct DecoderConfig {
  int vocab_size = 0, hidden_size = 0, intermediate_size = 0;
  int num_hidden_layers = 0, num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  int max_position_embeddings = 0;
  double rms_norm_eps = 1e-6, rope_theta = 0;
  std::array<int, 3> mrope_section{};  ///< frequencies of the time, height and width axes
  bool mrope_interleaved = false;      ///< these axes take turns; else each has its own run of frequencies
  std::string hidden_act = "silu";
  int sliding_window = 0;  ///< tokens that those layers see; 0: none slides
  std::vector<int> sliding_layers;
  int num_experts = 0, num_experts_per_tok = 0, moe_intermediate_size = 0;  ///< 0: every layer has one MLP
  bool norm_topk_prob = false;
  bool operator==(const DecoderConfig&) const = default;
};

/// The vision tower. A field that the family does not have is 0 or empty; without a tower all are.
struct TowerConfig {
  int depth = 0, hidden_size = 0, intermediate_size = 0, num_heads = 0, out_hidden_size = 0;
  int in_channels = 3, patch_size = 0, temporal_patch_size = 0, spatial_merge_size = 0;
  std::string hidden_act;
  int num_position_embeddings = 0;            ///< of learnt positions
  std::vector<int> deepstack_visual_indexes;  ///< blocks that feed the decoder
  int window_size = 0;                        ///< pixels
  std::vector<int> fullatt_block_indexes;     ///< blocks without windows
  bool operator==(const TowerConfig&) const = default;
};

/// A model directory's config.json.
struct ModelConfig {
  const Family* family = nullptr;
  std::string model_type;
  DecoderConfig text_config;
  TowerConfig vision_config;
  int image_token_id = -1, video_token_id = -1;              ///< -1: the family reads no images, no videos
  int vision_start_token_id = -1, vision_end_token_id = -1;  ///< -1: the file names none
  int tokens_per_second = 0;                                 ///< positions of a second of video; 0: text tells its time
  VisionTokens vision_tokens() const { return {image_token_id, video_token_id}; }
  std::vector<int> eos_token_id;     ///< any of them ends an answer; generation_config.json's come first
  bool tie_word_embeddings = false;  ///< as the file says; tied_head() (model_facts.hpp) asks the weights too
  DType dtype = DType::F32;          ///< of the weights; F32 if the file does not say, as in transformers
  std::string quant_method;          ///< "awq", "fp8", ...; empty: not quantised
  std::array<int, 2> weight_block_size = {128, 128};  ///< of fp8: the tile that shares a scale

  /// Error, naming the field, if it is missing, mistyped or out of range, and on an unknown model_type.
  /// Defined in model/config/read.hpp.
  inline static ModelConfig load(const std::filesystem::path& dir);
};

}  // namespace lamina
