#pragma once
#include <string>
#include <string_view>

/// One canonical spelling of every tensor and module name: that of transformers >= 4.52's modules, which is also that
/// of the model types: model.language_model...., model.visual...., lm_head....
namespace lamina::checkpoint {

/// How a file spells names. Qwen3-VL is released in the canonical spelling.
enum class Spelling {
  canonical,            ///< model.language_model.layers.0, model.visual.blocks.0, lm_head
  released_qwen2_5_vl,  ///< model.layers.0, visual.blocks.0, lm_head
  vllm                  ///< language_model.model.layers.0, visual.blocks.0, language_model.lm_head
};

namespace detail {
/// True where name is prefix or continues it with a dot.
inline bool under(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) && (name.size() == prefix.size() || name[prefix.size()] == '.');
}
inline std::string replaced(std::string_view name, std::string_view prefix, std::string_view by) {
  return std::string(by) + std::string(name.substr(prefix.size()));
}
}  // namespace detail

/// The canonical spelling of a tensor's or module's name in any accepted one; names of neither tower stay as they are.
/// canonical_name(canonical_name(x)) == canonical_name(x).
inline std::string canonical_name(std::string_view name) {
  using detail::replaced, detail::under;
  if (under(name, "model.language_model") || under(name, "model.visual")) return std::string(name);
  if (under(name, "visual")) return replaced(name, "visual", "model.visual");
  if (under(name, "language_model.lm_head")) return replaced(name, "language_model.lm_head", "lm_head");
  if (under(name, "language_model.model")) return replaced(name, "language_model.model", "model.language_model");
  if (under(name, "language_model")) return replaced(name, "language_model", "model.language_model");
  for (const std::string_view part : {"model.layers", "model.embed_tokens", "model.norm"})
    if (under(name, part)) return replaced(name, "model", "model.language_model");
  for (const std::string_view part : {"layers", "embed_tokens", "norm"})
    if (under(name, part)) return replaced(name, "", "model.language_model.");
  return std::string(name);
}

/// A canonical name in another spelling.
inline std::string respelt_name(std::string_view canonical, Spelling to) {
  using detail::replaced, detail::under;
  if (to == Spelling::canonical) return std::string(canonical);
  const bool vllm = to == Spelling::vllm;
  if (under(canonical, "model.visual")) return replaced(canonical, "model.visual", "visual");
  if (under(canonical, "model.language_model"))
    return replaced(canonical, "model.language_model", vllm ? "language_model.model" : "model");
  if (vllm && under(canonical, "lm_head")) return replaced(canonical, "lm_head", "language_model.lm_head");
  return std::string(canonical);
}

}  // namespace lamina::checkpoint
