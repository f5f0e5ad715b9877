#pragma once
#include <lamina/model/family.hpp>

/// Names that the Qwen-VL families share: those of transformers 4.52 and later, which are those of the model types, and
/// how older releases, vLLM and bare decoders spell them.
namespace lamina::qwen_vl {

inline constexpr checkpoint::Respelling respellings[] = {
    {"model.language_model", "model.language_model"},
    {"model.visual", "model.visual"},
    {"visual", "model.visual"},
    {"language_model.lm_head", "lm_head"},
    {"language_model.model", "model.language_model"},
    {"language_model", "model.language_model"},
    {"model.layers", "model.language_model.layers"},
    {"model.embed_tokens", "model.language_model.embed_tokens"},
    {"model.norm", "model.language_model.norm"},
    {"layers", "model.language_model.layers"},
    {"embed_tokens", "model.language_model.embed_tokens"},
    {"norm", "model.language_model.norm"},
};
inline constexpr std::string_view parts[] = {"model.language_model", "model.visual", "lm_head"};
inline constexpr checkpoint::NameRules names{respellings, parts};

/// PEFT visits modules as transformers declares them: the deepstack mergers come after the merger.
inline constexpr std::string_view visited[] = {"model.visual", "model.visual.deepstack_merger_list",
                                               "model.language_model"};
inline constexpr Regions regions{.tower = "model.visual",
                                 .projector = "model.visual.merger",
                                 .head = "lm_head",
                                 .embedding = "model.language_model.embed_tokens",
                                 .visited = visited};

}  // namespace lamina::qwen_vl
