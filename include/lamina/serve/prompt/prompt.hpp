#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/serve/model_files.hpp>
#include <lamina/serve/openai/request/context_length.hpp>
#include <lamina/serve/openai/request/generation_request.hpp>
#include <lamina/text/python_json.hpp>
#include <lamina/vision/image.hpp>

namespace lamina::serve {

/// Turns and their images, in the order of the messages' image parts.
struct PromptMessages {
  std::vector<text::Message> messages;
  std::vector<vision::Image> images;
};

/// How long a prompt may be, and who may stop the work on it.
struct PromptLimits {
  int max_model_len = 0;  ///< tokens of prompt and answer together
  int output_tokens = 1;  ///< that must have room behind the prompt
  std::stop_token cancelled = {};
  Truncation truncation = {};
};

/// A prompt that does not fit into the context, in vLLM's words.
struct PromptTooLong : Error {
  bool for_any_answer;  ///< one token of answer has no room either
  PromptTooLong(const std::string& message, bool for_any_answer) : Error(message), for_any_answer(for_any_answer) {}
};

/// A prompt as far as it is known before any image is decoded.
struct PromptPlan {
  std::vector<int> ids;     ///< placeholders of images expanded
  std::vector<Grid> grids;  ///< one per image

  /// The batch of one sequence, without patches and labels.
  Batch batch() && {
    Batch out;
    out.ids = std::move(ids);
    out.cu_seqlens = {0, static_cast<int>(out.ids.size())};
    out.grids = std::move(grids);
    return out;
  }
};

namespace detail {

inline void refuse_length(const PromptLimits& limits, std::int64_t prompt_tokens, bool lower_bound) {
  if (prompt_tokens + limits.output_tokens <= limits.max_model_len) return;
  throw PromptTooLong(context_length_message(limits.max_model_len, limits.output_tokens, prompt_tokens, lower_bound),
                      prompt_tokens >= limits.max_model_len);
}

}  // namespace detail

/// Leaves as many ids as truncation says.
inline void truncate(std::vector<int>& ids, const PromptLimits& limits) {
  const auto& [tokens, keep_end] = limits.truncation;
  const auto most =
      static_cast<std::ptrdiff_t>(tokens < 0 ? std::max(limits.max_model_len - limits.output_tokens, 1) : tokens);
  if (tokens == 0 || std::ssize(ids) <= most) return;
  if (tokens > limits.max_model_len)
    fail("truncate_prompt_tokens: is ", tokens, ", more than the context of ", limits.max_model_len);
  keep_end ? ids.erase(ids.begin(), ids.end() - most) : ids.erase(ids.begin() + most, ids.end());
}

/// How much of a prompt its messages and tools are.
struct TextSize {
  std::int64_t bytes = 0, characters = 0;
};
inline TextSize text_size(std::span<const text::Message> messages, const text::TemplateOptions& options) {
  TextSize size;
  const auto add = [&](std::string_view utf8) {
    size.bytes += std::ssize(utf8);
    size.characters += count_characters(utf8);
  };
  for (const auto& message : messages) {
    for (const auto& part : message.parts) add(part.text);
    for (const auto& call : message.tool_calls) add(call.name), add(call.arguments);
  }
  for (const auto* list : {&options.tools, &options.documents})
    for (const auto& item : *list) add(text::python_json(item));
  return size;
}

/// Throws PromptTooLong for a text that cannot fit whatever it says, before memory and time go into it.
inline void check_text_size(TextSize size, const text::Tokenizer& tokenizer, const PromptLimits& limits) {
  // A token has a byte or more for each character of NFC, which joins at most four characters into one of two bytes.
  const int output = limits.output_tokens < limits.max_model_len ? limits.output_tokens : 0;
  const auto room = [&](int tokens) {
    return 2 * std::int64_t{tokens} * static_cast<std::int64_t>(tokenizer.longest_token_bytes());
  };
  const std::int64_t most = room(limits.max_model_len - output);
  if (size.characters > most)
    throw PromptTooLong(context_length_message_for_text(limits.max_model_len, output, size.characters, most),
                        size.characters > room(limits.max_model_len));
}

/// The ids of a conversation whose images have these sizes. Errors: PromptTooLong; images and placeholders that differ
/// in number; an image that the processor refuses. Throws Cancelled.
inline PromptPlan plan_prompt(const ModelFiles& files, const vision::Processor& processor,
                              std::span<const text::Message> messages, const text::TemplateOptions& options,
                              std::span<const vision::ImageSize> sizes, const PromptLimits& limits) {
  PromptPlan plan;
  std::vector<int> tokens;
  std::int64_t image_tokens = 0;
  for (const auto size : sizes) {
    plan.grids.push_back(processor.grid_for(size));
    tokens.push_back(plan.grids.back().tokens(processor.merge_size));
    image_tokens += tokens.back();
  }
  detail::refuse_length(limits, image_tokens, true);
  check_text_size(text_size(messages, options), files.tokenizer, limits);
  const auto& chat_template = options.own ? *options.own : files.chat_template;
  const auto prompt = chat_template.render(messages, options, limits.cancelled);
  const auto places = static_cast<std::int64_t>(sizes.size());
  try {
    // A prompt of up to twice the context is counted to its end, for the message.
    const auto most = 2 * static_cast<std::size_t>(limits.max_model_len) + sizes.size();
    plan.ids = files.tokenizer.encode(prompt, {.max_ids = most, .cancelled = limits.cancelled});
  } catch (const text::TooManyIds& e) {
    detail::refuse_length(limits, static_cast<std::int64_t>(e.at_least) - places + image_tokens, true);
    throw;
  }
  if (places > 0 && limits.truncation.tokens > 0)
    fail("truncate_prompt_tokens: is ", limits.truncation.tokens,
         ", but the prompt holds images, whose places cannot be cut off: leave it out");
  if (places == 0) truncate(plan.ids, limits);
  if (const auto shown = std::count(plan.ids.begin(), plan.ids.end(), files.image_pad); shown != places)
    fail("messages: ", places, " images, but the chat template shows ", shown,
         ": does a system or assistant message hold one?");
  detail::refuse_length(limits, static_cast<std::int64_t>(plan.ids.size()) - places + image_tokens, false);
  plan.ids = text::expand_images(plan.ids, files.image_pad, files.family->chat.image_pad, tokens);
  return plan;
}

/// The sequence that a model reads for a conversation: one sequence, no labels. Errors as plan_prompt's.
inline Batch make_prompt(const ModelFiles& files, const vision::Processor& processor,
                         const PromptMessages& conversation, const text::TemplateOptions& options,
                         const PromptLimits& limits) {
  std::vector<vision::ImageSize> sizes;
  for (const auto& image : conversation.images) sizes.push_back(image.size());
  Batch batch = plan_prompt(files, processor, conversation.messages, options, sizes, limits).batch();
  for (const auto& image : conversation.images) processor.append_patches(image, batch.patches);
  return batch;
}

}  // namespace lamina::serve
