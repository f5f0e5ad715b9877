#pragma once
#include <lamina/model/qwen_vl/names.hpp>

#include <string>
#include <string_view>

/// How other writers spell the canonical names of a Qwen-VL model.
namespace lamina::testing {

enum class Spelling {
  canonical,            ///< model.language_model.layers.0, model.visual.blocks.0, lm_head
  released_qwen2_5_vl,  ///< model.layers.0, visual.blocks.0, lm_head
  vllm                  ///< language_model.model.layers.0, visual.blocks.0, language_model.lm_head
};

inline std::string respelt_name(std::string_view canonical, Spelling to) {
  const auto replaced = [&](std::string_view prefix, std::string_view by) {
    return std::string(by) + std::string(canonical.substr(prefix.size()));
  };
  const bool vllm = to == Spelling::vllm;
  if (to == Spelling::canonical) return std::string(canonical);
  if (canonical.starts_with("model.visual")) return replaced("model.visual", "visual");
  if (canonical.starts_with("model.language_model"))
    return replaced("model.language_model", vllm ? "language_model.model" : "model");
  if (vllm && canonical.starts_with("lm_head")) return replaced("lm_head", "language_model.lm_head");
  return std::string(canonical);
}

}  // namespace lamina::testing
