#pragma once
#include <lamina/model/qwen3_vl/chat.hpp>
#include <lamina/model/qwen3_vl/config.hpp>
#include <lamina/model/qwen3_vl/processor.hpp>
#include <lamina/model/qwen_vl/names.hpp>

namespace lamina::qwen3_vl {

inline constexpr Relative relatives[] = {{"qwen3_5", "its layers of gated DeltaNet are not built"},
                                         {"qwen3_5_moe", "its layers of gated DeltaNet are not built"}};

inline constexpr Family family{.model_type = "qwen3_vl",
                               .title = "Qwen3-VL",
                               .relatives = relatives,
                               .names = qwen_vl::names,
                               .regions = qwen_vl::regions,
                               .config = config,
                               .chat = chat,
                               .templates = templates,
                               .processor = processor};

}  // namespace lamina::qwen3_vl
