#pragma once
#include <lamina/model/qwen2_5_vl/released_template.hpp>
#include <lamina/model/qwen_vl/chat.hpp>

namespace lamina::qwen2_5_vl {

inline constexpr std::string_view default_system = "You are a helpful assistant.";

inline constexpr ChatFormat chat = [] {
  ChatFormat format = qwen_vl::layout;
  format.title = "Qwen2.5-VL-Instruct";
  format.released_template = released_template;
  return format;
}();

inline constexpr TrainingTemplate templates[] = {
    {.name = "qwen2_vl", .models = "Qwen2.5-VL", .default_system = default_system, .tools = &qwen_vl::tools},
    {.name = "qwen",
     .models = "records without images",
     .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
     .tools = &qwen_vl::tools,
     .takes_images = false},
};

}  // namespace lamina::qwen2_5_vl
