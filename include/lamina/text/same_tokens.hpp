#pragma once
#include <filesystem>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/model/config/model_config.hpp>
#include <lamina/text/tokenizer.hpp>

namespace lamina::text {

/// Error if config.json and the tokenizer are of different models: the tokenizer has more tokens than the model has
/// embeddings, or they number the marks of images and videos otherwise, so that the model would look for images at
/// tokens that no prompt has. A mark that one of them does not know is not compared.
inline void require_same_tokens(const ModelConfig& config, const Tokenizer& tokenizer,
                                const std::filesystem::path& folder) {
  struct Mark {
    std::string_view field;
    int id;
    std::string_view text;
  };
  constexpr std::string_view advice = ": the two are of different models; take both from the same one";
  const std::string file = (folder / "config.json").string();
  if (tokenizer.size() > config.text_config.vocab_size)
    fail(file, ": vocab_size is ", config.text_config.vocab_size, ", and the tokenizer has tokens up to ",
         tokenizer.size() - 1, advice);
  const ChatFormat& chat = config.family->chat;
  for (const Mark& mark : {Mark{"image_token_id", config.image_token_id, chat.image_pad},
                           Mark{"video_token_id", config.video_token_id, chat.video_pad},
                           Mark{"vision_start_token_id", config.vision_start_token_id, chat.image_begin},
                           Mark{"vision_end_token_id", config.vision_end_token_id, chat.image_end}}) {
    const auto own = mark.text.empty() ? std::nullopt : tokenizer.id_of(mark.text);
    if (own && mark.id >= 0 && *own != mark.id)
      fail(file, ": ", mark.field, " is ", mark.id, ", and the tokenizer's ", mark.text, " is ", *own, advice);
  }
}

}  // namespace lamina::text
