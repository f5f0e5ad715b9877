#pragma once
#include <lamina/model/chat_format.hpp>

/// The marks that the Qwen-VL families' layouts share.
namespace lamina::qwen_vl {

inline constexpr ToolMarks tools{
    .offer_begin =
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    .offer_end =
        "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags:\n<tool_call>\n"
        "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>",
    .call_begin = "<tool_call>",
    .call_end = "</tool_call>",
    .response_begin = "<tool_response>",
    .response_end = "</tool_response>"};

/// They open and end turns and texts, and stand in the places of images and videos.
inline constexpr std::string_view control_tokens[] = {"<|endoftext|>",    "<|im_start|>",   "<|im_end|>",
                                                      "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
                                                      "<|image_pad|>",    "<|video_pad|>"};

/// ChatML, with images between vision marks.
inline constexpr ChatFormat layout{.turn_begin = "<|im_start|>",
                                   .role_end = "\n",
                                   .turn_end = "<|im_end|>",
                                   .image_begin = "<|vision_start|>",
                                   .image_pad = "<|image_pad|>",
                                   .image_end = "<|vision_end|>",
                                   .video_pad = "<|video_pad|>",
                                   .tools = nullptr,
                                   .control_tokens = control_tokens};

}  // namespace lamina::qwen_vl
