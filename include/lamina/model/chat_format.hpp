#pragma once
#include <span>
#include <string_view>

namespace lamina {

/// How functions are offered to a model, called by it, and answered. Offers and calls are JSON between these words.
struct ToolMarks {
  std::string_view offer_begin, offer_end;        ///< around the list of functions, one per line
  std::string_view call_begin, call_end;          ///< each on a line of its own around a call
  std::string_view response_begin, response_end;  ///< the same around what a function returned
};

/// A family's chat layout. data/sample/template.hpp writes training samples by it; prompts are written by chat
/// templates.
struct ChatFormat {
  std::string_view title = "";            ///< of the models that ship this layout's template, for messages
  std::string_view turn_begin, role_end;  ///< around a role: "<|im_start|>" user "\n"
  std::string_view turn_end;              ///< the token that ends a turn, and an answer
  std::string_view turn_break = "\n";     ///< after turn_end
  std::string_view user = "user", assistant = "assistant", system = "system";
  std::string_view image_begin, image_pad, image_end;  ///< an image is image_pad, once for each of its tokens
  std::string_view video_pad;  ///< a video's tokens, between the same marks; "": the family reads no videos
  /// Around the seconds of each group of frames, which then has marks of its own: "<" 0.5 " seconds>". Empty: the whole
  /// video is one run of video_pad, and positions tell its time.
  std::string_view video_time_begin = "", video_time_end = "";
  const ToolMarks* tools = nullptr;  ///< nullptr: the layout knows no functions
  /// The added tokens that only a layout may write: content that spells one keeps its letters
  /// (text/tokenizer/added_tokens.hpp).
  std::span<const std::string_view> control_tokens;
  std::string_view released_template = "";  ///< the chat template of a folder that has none
};

/// One of LLaMA-Factory's templates for a family. All of a family share its layout.
struct TrainingTemplate {
  std::string_view name;
  std::string_view models;               ///< which it is for: "Qwen3-VL Thinking"
  std::string_view default_system = "";  ///< if the data has no system prompt
  bool reasoning = false;                ///< an answer without thought gets an empty one
  std::string_view plain = "";           ///< of a reasoning template: that of the models which do not think
  const ToolMarks* tools = nullptr;
  bool takes_images = true;  ///< false: a template of text models, for records without images
};

}  // namespace lamina
