#pragma once
#include <lamina/model/qwen2_5_vl/chat.hpp>
#include <lamina/model/qwen2_5_vl/config.hpp>
#include <lamina/model/qwen2_5_vl/processor.hpp>
#include <lamina/model/qwen_vl/names.hpp>

namespace lamina::qwen2_5_vl {

inline constexpr Family family{.model_type = "qwen2_5_vl",
                               .title = "Qwen2.5-VL",
                               .relatives = {},
                               .names = qwen_vl::names,
                               .regions = qwen_vl::regions,
                               .config = config,
                               .chat = chat,
                               .templates = templates,
                               .processor = processor};

}  // namespace lamina::qwen2_5_vl
