#pragma once
#include <algorithm>
#include <limits>
#include <type_traits>

#include <lamina/checkpoint/folders.hpp>
#include <lamina/checkpoint/safetensors/header.hpp>
#include <lamina/checkpoint/torch_dtype.hpp>
#include <lamina/io/json/file.hpp>
#include <lamina/model/config/fields.hpp>
#include <lamina/model/config/model_config.hpp>
#include <lamina/model/families.hpp>

/// Reading config.json in every layout that releases and re-saves have: the decoder's fields nested or flat, a sparse
/// vision_config, rope_scaling or rope_parameters, torch_dtype or dtype.
namespace lamina {

/// Error if a file names a token that the model does not have.
inline void require_token(int vocab_size, int id, const std::string& field, const std::string& file) {
  if (id < 0 || id >= vocab_size)
    fail(file, ": ", field, " is ", id, ", and the model's tokens are 0 to ", vocab_size - 1, " (vocab_size)");
}

namespace detail {
using io::check_fields, io::JsonFields;

/// The object that holds the rotary fields, in the newer spelling of its name or the older. Files may carry both, with
/// equal values: transformers obeys the older, others the newer.
/// Plain rotation of text needs neither.
inline JsonFields rope_object(const JsonFields& text, bool multimodal) {
  static const nlohmann::json nothing = nlohmann::json::object();
  if (!multimodal && !text.has("rope_scaling") && !text.has("rope_parameters"))
    return {nothing, text.file(), "rope_parameters"};
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

/// The fields of an object of config.json as a family has them: if the file names none, its default counts.
class FamilyFields {
 public:
  /// object: "text_config" or "vision_config", wherever the file keeps these fields.
  FamilyFields(const JsonFields& fields, std::string object, const ConfigFormat& format)
      : fields_(fields), object_(std::move(object)), format_(format) {}

  const JsonFields& fields() const { return fields_; }
  int size(const std::string& key) const {
    return read(key, [](const auto& f, const auto& k) { return f.size(k); });
  }
  std::string text(const std::string& key) const {
    return read(key, [](const auto& f, const auto& k) { return f.text(k); });
  }
  bool boolean(const std::string& key) const {
    return read(key, [](const auto& f, const auto& k) { return f.boolean(k, false); });
  }
  std::vector<int> integers(const std::string& key) const {
    return read(key, [](const auto& f, const auto& k) { return f.integers(k); });
  }
  bool reads_images() const { return format_.reads_images; }
  bool slides() const { return format_.slides; }
  /// The same object's fields in another place of the file.
  FamilyFields in(const JsonFields& place) const { return {place, object_, format_}; }
  /// Whether the family has a field that others have not, with one of these uses.
  bool has_own(std::string_view key, io::FieldUse use) const {
    const auto own = object_ == "text_config" ? format_.text_fields : format_.vision_fields;
    const io::Field* field = io::find_field(own, key);
    return field && field->use == use;
  }

 private:
  template <class Read>
  std::invoke_result_t<Read, JsonFields, std::string> read(const std::string& key, const Read& read_as) const {
    if (fields_.has(key)) return read_as(fields_, key);
    const std::string name = object_ + "." + key;
    for (const FieldDefault& other : format_.defaults) {
      if (other.field != name) continue;
      if (const std::string older(other.older); !older.empty() && fields_.has(older)) return read_as(fields_, older);
      if (other.value.empty()) break;
      const nlohmann::json object = {{key, nlohmann::json::parse(other.value)}};
      return read_as(JsonFields(object, fields_.file(), object_), key);
    }
    return read_as(fields_, key);
  }

  JsonFields fields_;
  std::string object_;
  const ConfigFormat& format_;
};

inline void read_rope(const FamilyFields& family, DecoderConfig& out) {
  const JsonFields& text = family.fields();
  const JsonFields rope = rope_object(text, family.reads_images());
  check_fields(rope, fields_of_rope());
  if (!family.reads_images() && rope.has("mrope_section"))
    rope.wrong("mrope_section", rope.json()["mrope_section"], "none: positions of text have one axis");
  if (rope.has("rope_theta") && text.has("rope_theta") && text.json()["rope_theta"] != rope.json()["rope_theta"])
    note(cat(text.file(), ": ", text.path("rope_theta"), " has no effect: ", rope.path("rope_theta"), " counts"));
  out.rope_theta = rope.has("rope_theta") ? rope.number("rope_theta") : text.number("rope_theta");
  if (!(out.rope_theta > 0 && out.rope_theta < 1e15))
    fail(text.file(), ": rope_theta is ", out.rope_theta, ", wanted a positive number below 1e15");
  if (!family.reads_images()) return;
  const std::vector<int> section = rope.integers("mrope_section");
  int sum = 0;
  for (const int n : section) sum += n;
  if (section.size() != 3 || 2 * sum != out.head_dim || *std::min_element(section.begin(), section.end()) < 0)
    rope.wrong("mrope_section", rope.json()["mrope_section"],
               cat("three lengths that sum to head_dim / 2 = ", out.head_dim / 2));
  std::copy(section.begin(), section.end(), out.mrope_section.begin());
  out.mrope_interleaved = family.in(rope).boolean("mrope_interleaved");
}

/// Which layers attend in a window: those that layer_types names, or the last ones after max_window_layers.
/// source  transformers 5.24, Qwen3Config
inline void read_windows(const FamilyFields& family, DecoderConfig& out) {
  const JsonFields& text = family.fields();
  const bool slides = text.boolean("use_sliding_window", false);
  if (slides && !family.slides())
    fail(text.file(), ": ", text.path("use_sliding_window"), " is true: sliding windows are not supported");
  if (text.has("layer_types")) {
    const std::vector<std::string> types = text.texts("layer_types");
    if (types.size() != static_cast<std::size_t>(out.num_hidden_layers))
      fail(text.file(), ": ", text.path("layer_types"), " has ", types.size(), " of them for ", out.num_hidden_layers,
           " layers");
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (types[i] == "full_attention") continue;
      if (types[i] != "sliding_attention" || !family.slides())
        fail(text.file(), ": ", text.path("layer_types"), " has ", types[i], ": ",
             family.slides() ? "wanted full_attention or sliding_attention" : "sliding windows are not supported");
      if (!slides)
        fail(text.file(), ": ", text.path("layer_types"), " has sliding_attention, and use_sliding_window is not true");
      out.sliding_layers.push_back(static_cast<int>(i));
    }
  } else if (slides) {
    for (int i = text.integer("max_window_layers", 28); i < out.num_hidden_layers; ++i) out.sliding_layers.push_back(i);
  }
  if (out.sliding_layers.empty()) return;
  out.sliding_window = family.size("sliding_window");
}

inline DecoderConfig read_decoder(const FamilyFields& family) {
  const JsonFields& text = family.fields();
  DecoderConfig out;
  out.vocab_size = family.size("vocab_size");
  out.hidden_size = family.size("hidden_size");
  out.intermediate_size = family.size("intermediate_size");
  out.num_hidden_layers = family.size("num_hidden_layers");
  out.num_attention_heads = family.size("num_attention_heads");
  out.num_key_value_heads = text.size("num_key_value_heads", out.num_attention_heads);
  // Some families' heads have a width of their own, others' are always hidden_size / heads.
  out.head_dim = family.has_own("head_dim", io::FieldUse::fact) ? family.size("head_dim")
                                                                : out.hidden_size / out.num_attention_heads;
  out.max_position_embeddings = family.size("max_position_embeddings");
  out.rms_norm_eps = text.as_number(text.require("rms_norm_eps"), "rms_norm_eps", 0, 1);
  out.hidden_act = family.text("hidden_act");
  if (out.num_attention_heads % out.num_key_value_heads != 0)
    fail(text.file(), ": ", text.path("num_attention_heads"), " = ", out.num_attention_heads,
         " is not a multiple of num_key_value_heads = ", out.num_key_value_heads);
  read_windows(family, out);
  if (family.has_own("num_experts", io::FieldUse::fact)) {
    out.num_experts = family.size("num_experts");
    out.num_experts_per_tok = family.size("num_experts_per_tok");
    out.moe_intermediate_size = family.size("moe_intermediate_size");
    out.norm_topk_prob = family.boolean("norm_topk_prob");
  }
  read_rope(family, out);
  return out;
}

/// What only some families' towers have. Blocks without windows may lie beyond the tower: the default names those of
/// the released depth.
inline void read_own_of_tower(const FamilyFields& family, TowerConfig& out) {
  const auto has = [&](std::string_view key) { return family.has_own(key, io::FieldUse::fact); };
  const auto check_block = [&](int block, int end) {
    if (block < 0 || block >= end)
      fail(family.fields().file(), ": vision_config names block ", block, " of a tower of ", out.depth);
  };
  if (has("num_position_embeddings")) out.num_position_embeddings = family.size("num_position_embeddings");
  if (has("deepstack_visual_indexes")) out.deepstack_visual_indexes = family.integers("deepstack_visual_indexes");
  if (has("window_size")) out.window_size = family.size("window_size");
  if (has("fullatt_block_indexes")) out.fullatt_block_indexes = family.integers("fullatt_block_indexes");
  for (const int block : out.deepstack_visual_indexes) check_block(block, out.depth);
  for (const int block : out.fullatt_block_indexes) check_block(block, std::numeric_limits<int>::max());
}

inline TowerConfig read_tower(const FamilyFields& family) {
  const JsonFields& vision = family.fields();
  TowerConfig out;
  out.depth = family.size("depth");
  out.hidden_size = family.size("hidden_size");
  out.intermediate_size = family.size("intermediate_size");
  out.num_heads = family.size("num_heads");
  out.out_hidden_size = family.size("out_hidden_size");
  out.in_channels = family.size("in_channels");
  out.patch_size = family.size("patch_size");
  out.temporal_patch_size = family.size("temporal_patch_size");
  out.spatial_merge_size = family.size("spatial_merge_size");
  out.hidden_act = family.text("hidden_act");
  read_own_of_tower(family, out);
  if (out.hidden_size % out.num_heads != 0)
    fail(vision.file(), ": ", vision.path("hidden_size"), " = ", out.hidden_size,
         " is not a multiple of num_heads = ", out.num_heads);
  return out;
}

/// The ids of the marks of images and videos. Error for one that the model does not have.
inline void read_marks(const JsonFields& top, const ConfigFormat& format, ModelConfig& out) {
  const auto id = [&](const char* field, int otherwise) {
    const int value = top.integer(field, otherwise);
    if (top.has(field)) require_token(out.text_config.vocab_size, value, top.path(field), top.file());
    return value;
  };
  out.image_token_id = id("image_token_id", format.image_token_id);
  out.video_token_id = format.video_token_id < 0 ? -1 : id("video_token_id", format.video_token_id);
  out.vision_start_token_id = id("vision_start_token_id", -1);
  out.vision_end_token_id = id("vision_end_token_id", -1);
}

/// The tower, and the tokens in whose places its rows go.
inline void read_vision(const JsonFields& top, const ConfigFormat& format, ModelConfig& out) {
  const JsonFields vision = top.object("vision_config");
  check_fields(vision, fields_of_vision_config(format));
  const FamilyFields tower{vision, "vision_config", format};
  out.vision_config = read_tower(tower);
  if (tower.has_own("tokens_per_second", io::FieldUse::used)) out.tokens_per_second = tower.size("tokens_per_second");
  if (out.vision_config.out_hidden_size != out.text_config.hidden_size)
    fail(top.file(), ": vision_config.out_hidden_size = ", out.vision_config.out_hidden_size,
         " must equal the decoder's hidden_size = ", out.text_config.hidden_size);
  read_marks(top, format, out);
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

inline void read_quantization(const JsonFields& config, ModelConfig& out) {
  out.quant_method = config.text("quant_method", "unknown");
  if (out.quant_method != "fp8" || !config.has("weight_block_size")) return;
  const std::vector<int> size = config.integers("weight_block_size");
  if (size.size() != 2 || size[0] < 1 || size[1] < 1)
    config.wrong("weight_block_size", config.json()["weight_block_size"], "two positive numbers, rows and columns");
  out.weight_block_size = {size[0], size[1]};
}

/// Some trainers leave copies of text_config's fields at the top level, and later changes miss them.
inline void note_stale_copies(const JsonFields& top, const JsonFields& text) {
  for (const auto& [name, value] : text.json().items())
    if (top.has(name) && find_field(text_fields, name) && !find_field(model_fields, name) && top.json()[name] != value)
      note(cat(top.file(), ": ", name, " has no effect: text_config.", name, " counts"));
}

}  // namespace detail

inline ModelConfig ModelConfig::load(const std::filesystem::path& dir) {
  using io::check_fields, io::JsonFields;
  checkpoint::require_model_folder(dir);
  const std::filesystem::path path = dir / "config.json";
  const nlohmann::json json = io::read_json_object<nlohmann::json>(path);
  const JsonFields top(json, path.string());
  ModelConfig out;
  out.model_type = top.text("model_type");
  out.family = &family_of(out.model_type, top.file());
  const ConfigFormat& format = out.family->config;
  const bool nested = format.nested || top.has("text_config");
  const JsonFields text = nested ? top.object("text_config") : top;
  check_fields(top, fields_of_model_config(format, nested));
  if (nested) {
    check_fields(text, fields_of_text_config(format));
    detail::note_stale_copies(top, text);
  }
  out.text_config = detail::read_decoder({text, "text_config", format});
  if (format.reads_images)
    detail::read_vision(top, format, out);
  else if (top.has("vision_config"))
    fail(path.string(), ": has a vision_config, and ", out.family->title, " reads no images");
  out.eos_token_id = (top.has("eos_token_id") ? top : text).integer_or_list("eos_token_id");
  const bool tied_at_top = top.boolean("tie_word_embeddings", false);
  out.tie_word_embeddings = text.boolean("tie_word_embeddings", false) || tied_at_top;
  out.dtype = detail::read_dtype(top, text);
  if (top.has("quantization_config")) detail::read_quantization(top.object("quantization_config"), out);
  return out;
}

}  // namespace lamina
