#pragma once
#include <lamina/model/qwen3_vl/released_template.hpp>
#include <lamina/model/qwen_vl/chat.hpp>

namespace lamina::qwen3_vl {

inline constexpr ChatFormat chat = [] {
  ChatFormat format = qwen_vl::layout;
  format.title = "Qwen3-VL-Instruct";
  format.released_template = released_template;
  format.tools = &qwen_vl::tools;
  format.video_time_begin = "<", format.video_time_end = " seconds>";
  return format;
}();

inline constexpr TrainingTemplate templates[] = {
    {.name = "qwen3_vl",
     .models = "Qwen3-VL Thinking",
     .reasoning = true,
     .plain = "qwen3_vl_nothink",
     .tools = &qwen_vl::tools},
    {.name = "qwen3_vl_nothink", .models = "Qwen3-VL Instruct", .tools = &qwen_vl::tools},
    {.name = "qwen3",
     .models = "records without images",
     .reasoning = true,
     .plain = "qwen3_nothink",
     .tools = &qwen_vl::tools,
     .takes_images = false},
    {.name = "qwen3_nothink", .models = "the same", .tools = &qwen_vl::tools, .takes_images = false},
};

}  // namespace lamina::qwen3_vl
