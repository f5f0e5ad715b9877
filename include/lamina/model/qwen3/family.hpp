#pragma once
#include <lamina/model/qwen3/config.hpp>
#include <lamina/model/qwen_vl/chat.hpp>

namespace lamina::qwen3 {

/// Qwen3-VL's layout without images. LLaMA-Factory's templates qwen3 and qwen3_nothink are among Qwen3-VL's.
inline constexpr ChatFormat chat = [] {
  ChatFormat format = qwen_vl::layout;
  format.title = "Qwen3";
  format.image_begin = format.image_pad = format.image_end = format.video_pad = "";
  format.tools = &qwen_vl::tools;
  return format;
}();

inline constexpr checkpoint::Respelling respellings[] = {
    {"model", "model"},
    {"layers", "model.layers"},
    {"embed_tokens", "model.embed_tokens"},
    {"norm", "model.norm"},
};
inline constexpr std::string_view parts[] = {"model", "lm_head"};
inline constexpr std::string_view visited[] = {"model"};
inline constexpr Family family{
    .model_type = "qwen3",
    .title = "Qwen3",
    .relatives = {},
    .names = {respellings, parts},
    .regions = {.tower = "", .projector = "", .head = "lm_head", .embedding = "model.embed_tokens", .visited = visited},
    .config = config,
    .chat = chat,
    .templates = {},
    .processor = {}};

}  // namespace lamina::qwen3
