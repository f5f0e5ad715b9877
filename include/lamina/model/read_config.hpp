#pragma once
#include <algorithm>

#include <lamina/checkpoint/folders.hpp>
#include <lamina/checkpoint/safetensors_header.hpp>
#include <lamina/checkpoint/torch_dtype.hpp>
#include <lamina/io/file.hpp>
#include <lamina/model/config_fields.hpp>
#include <lamina/model/model_config.hpp>

/// Reading config.json in every layout that releases and re-saves of Qwen2.5-VL and Qwen3-VL have: text fields nested
/// or flat, a sparse vision_config, rope_scaling or rope_parameters, torch_dtype or dtype.
namespace lamina {

namespace detail {
using checkpoint::check_fields, checkpoint::JsonFields;

/// The JSON of a small file of a model directory.
inline nlohmann::json read_json(const std::filesystem::path& path) {
  return checkpoint::detail::parse_checked<nlohmann::json>(checkpoint::read_text(path), path.string(), 64);
}

/// The object that holds the rotary fields, in the newer spelling of its name or the older. Files may carry both, with
/// equal values: transformers obeys the older, others the newer.
inline JsonFields rope_object(const JsonFields& text) {
  if (!text.has("rope_scaling")) return text.object("rope_parameters");
  const JsonFields older = text.object("rope_scaling");
  if (!text.has("rope_parameters")) return older;
  const JsonFields newer = text.object("rope_parameters");
  for (const char* field : {"rope_theta", "mrope_section", "mrope_interleaved"})
    if (newer.has(field) && older.has(field) && newer.json()[field] != older.json()[field])
      fail(text.file(), ": ", newer.path(field), " and ", older.path(field),
           " differ: keep the one that the model was trained with");
  return newer;
}

inline void read_rope(const JsonFields& text, bool qwen3, DecoderConfig& out) {
  const JsonFields rope = rope_object(text);
  check_fields(rope, fields_of_rope());
  if (rope.has("rope_theta") && text.has("rope_theta") && text.json()["rope_theta"] != rope.json()["rope_theta"])
    note(cat(text.file(), ": ", text.path("rope_theta"), " has no effect: ", rope.path("rope_theta"), " counts"));
  out.rope_theta = rope.has("rope_theta") ? rope.number("rope_theta") : text.number("rope_theta");
  if (!(out.rope_theta > 0)) fail(text.file(), ": rope_theta is ", out.rope_theta, ", wanted a positive number");
  const std::vector<int> section = rope.integers("mrope_section");
  int sum = 0;
  for (const int n : section) sum += n;
  if (section.size() != 3 || 2 * sum != out.head_dim || *std::min_element(section.begin(), section.end()) < 0)
    rope.wrong("mrope_section", rope.json()["mrope_section"],
               cat("three lengths that sum to head_dim / 2 = ", out.head_dim / 2));
  std::copy(section.begin(), section.end(), out.mrope_section.begin());
  out.mrope_interleaved = rope.boolean("mrope_interleaved", qwen3);
}

inline void check_layer_types(const JsonFields& text) {
  if (!text.has("layer_types")) return;
  for (const std::string& type : text.texts("layer_types"))
    if (type != "full_attention")
      fail(text.file(), ": ", text.path("layer_types"), " has ", type, ": sliding windows are not supported");
}

inline DecoderConfig read_text_config(const JsonFields& text, bool qwen3) {
  DecoderConfig out;
  out.vocab_size = text.size("vocab_size");
  out.hidden_size = text.size("hidden_size");
  out.intermediate_size = text.size("intermediate_size");
  out.num_hidden_layers = text.size("num_hidden_layers");
  out.num_attention_heads = text.size("num_attention_heads");
  out.num_key_value_heads = text.size("num_key_value_heads", out.num_attention_heads);
  // Qwen3's heads have a width of their own, 128 unless given; Qwen2.5's are always hidden_size / heads.
  out.head_dim = qwen3 ? text.size("head_dim", 128) : out.hidden_size / out.num_attention_heads;
  out.max_position_embeddings = text.size("max_position_embeddings", qwen3 ? 128000 : 32768);
  out.rms_norm_eps = text.number("rms_norm_eps");
  out.hidden_act = text.text("hidden_act", "silu");
  if (out.num_attention_heads % out.num_key_value_heads != 0)
    fail(text.file(), ": ", text.path("num_attention_heads"), " = ", out.num_attention_heads,
         " is not a multiple of num_key_value_heads = ", out.num_key_value_heads);
  if (!qwen3) check_layer_types(text);
  read_rope(text, qwen3, out);
  return out;
}

/// Gaps are filled with the library's own defaults: the released Qwen2.5-VL-3B relies on them.
inline TowerConfig read_vision_config(const JsonFields& vision, bool qwen3) {
  check_fields(vision, fields_of_vision_config(qwen3));
  TowerConfig out;
  out.depth = qwen3 ? vision.size("depth") : vision.size("depth", 32);
  out.hidden_size = vision.size("hidden_size");
  out.intermediate_size = qwen3 ? vision.size("intermediate_size") : vision.size("intermediate_size", 3420);
  out.num_heads = vision.size("num_heads", 16);
  out.out_hidden_size = vision.size("out_hidden_size");
  out.in_channels = vision.size("in_channels", vision.size("in_chans", 3));
  out.patch_size = vision.size("patch_size", vision.size("spatial_patch_size", qwen3 ? 16 : 14));
  out.temporal_patch_size = vision.size("temporal_patch_size", 2);
  out.spatial_merge_size = vision.size("spatial_merge_size", 2);
  out.hidden_act = vision.text("hidden_act", qwen3 ? "gelu_pytorch_tanh" : "silu");
  if (qwen3) {
    out.num_position_embeddings = vision.size("num_position_embeddings", 2304);
    out.deepstack_visual_indexes = vision.integers("deepstack_visual_indexes");
  } else {
    out.window_size = vision.size("window_size", 112);
    out.fullatt_block_indexes =
        vision.has("fullatt_block_indexes") ? vision.integers("fullatt_block_indexes") : std::vector{7, 15, 23, 31};
  }
  if (out.hidden_size % out.num_heads != 0)
    fail(vision.file(), ": ", vision.path("hidden_size"), " = ", out.hidden_size,
         " is not a multiple of num_heads = ", out.num_heads);
  for (const int block : qwen3 ? out.deepstack_visual_indexes : out.fullatt_block_indexes)
    if (block < 0 || (qwen3 && block >= out.depth))
      fail(vision.file(), ": vision_config names block ", block, " of a tower of ", out.depth);
  return out;
}

inline DType read_dtype(const JsonFields& top, const JsonFields& text) {
  for (const JsonFields* fields : {&top, &text})
    for (const char* key : {"dtype", "torch_dtype"}) {
      if (!fields->has(key)) continue;
      const std::string name = fields->text(key);
      if (const auto dtype = checkpoint::dtype_from_torch_name(name)) return *dtype;
      fields->wrong(key, fields->json()[key], "bfloat16, float16 or float32");
    }
  return DType::F32;
}

/// A token id, or a list of them; empty if there is none.
inline std::vector<int> ids_of(const JsonFields& fields, const std::string& key) {
  if (!fields.has(key)) return {};
  return fields.json()[key].is_array() ? fields.integers(key) : std::vector{fields.integer(key)};
}

/// Some trainers leave copies of text_config's fields at the top level, and later changes miss them.
inline void note_stale_copies(const JsonFields& top, const JsonFields& text) {
  for (const auto& [name, value] : text.json().items())
    if (top.has(name) && find_field(text_fields, name) && !find_field(model_fields, name) && top.json()[name] != value)
      note(cat(top.file(), ": ", name, " has no effect: text_config.", name, " counts"));
}

inline std::string read_model_type(const JsonFields& top) {
  const std::string type = top.text("model_type");
  if (type == "qwen3_vl" || type == "qwen2_5_vl") return type;
  fail(top.file(), ": model_type is \"", type, "\", known are qwen3_vl and qwen2_5_vl",
       type == "qwen3_vl_moe" ? ": mixture-of-experts models are not supported" : "");
}

}  // namespace detail

inline ModelConfig ModelConfig::load(const std::filesystem::path& dir) {
  using checkpoint::check_fields, checkpoint::JsonFields;
  checkpoint::require_model_folder(dir);
  const std::filesystem::path path = dir / "config.json";
  const nlohmann::json json = detail::read_json(path);
  const JsonFields top(json, path.string());
  ModelConfig out;
  out.model_type = detail::read_model_type(top);
  const bool qwen3 = out.model_type == "qwen3_vl", nested = qwen3 || top.has("text_config");
  const JsonFields text = nested ? top.object("text_config") : top;
  check_fields(top, fields_of_model_config(qwen3, nested));
  if (nested) {
    check_fields(text, fields_of_text_config(qwen3));
    detail::note_stale_copies(top, text);
  }
  out.text_config = detail::read_text_config(text, qwen3);
  out.vision_config = detail::read_vision_config(top.object("vision_config"), qwen3);
  if (out.vision_config.out_hidden_size != out.text_config.hidden_size)
    fail(path.string(), ": vision_config.out_hidden_size = ", out.vision_config.out_hidden_size,
         " must equal the decoder's hidden_size = ", out.text_config.hidden_size);
  out.image_token_id = top.integer("image_token_id", 151655);
  out.eos_token_id = detail::ids_of(top.has("eos_token_id") ? top : text, "eos_token_id");
  const bool tied_at_top = top.boolean("tie_word_embeddings", false);
  out.tie_word_embeddings = text.boolean("tie_word_embeddings", false) || tied_at_top;
  out.dtype = detail::read_dtype(top, text);
  if (top.has("quantization_config"))
    out.quant_method = top.object("quantization_config").text("quant_method", "unknown");
  return out;
}

}  // namespace lamina
