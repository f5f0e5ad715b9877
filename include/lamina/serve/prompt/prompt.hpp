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
#include <lamina/serve/prompt/prompt_video.hpp>
#include <lamina/text/media_places.hpp>
#include <lamina/text/python_json.hpp>
#include <lamina/vision/image.hpp>

namespace lamina::serve {

/// Turns with their images and videos, each in the order of the messages' parts.
struct PromptMessages {
  std::vector<text::Message> messages;
  std::vector<vision::Image> images;
  std::vector<PromptVideo> videos = {};
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

/// A prompt as far as it is known before any image or video is decoded.
struct PromptPlan {
  /// The number of an image, or of a video, among its kind.
  struct Medium {
    bool is_video = false;
    std::size_t number = 0;
  };
  std::vector<int> ids;            ///< places of images and videos expanded
  std::vector<Grid> grids;         ///< one per image and run of a video, in the order of ids
  std::vector<Medium> media;       ///< in the same order
  std::vector<VideoPlace> videos;  ///< by number

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

namespace detail {

/// The grids of a prompt's media in the order of their places in ids, in which each has a pad for each grid.
inline void order_media(std::span<const int> ids, VisionTokens pads, const std::vector<Grid>& images,
                        PromptPlan& plan) {
  std::size_t image = 0, video = 0, runs = 0;  // runs: of the video before, that are still to come
  for (const int id : ids) {
    if (!pads(id)) continue;
    if (id == pads.image) {
      plan.media.push_back({false, image});
      plan.grids.push_back(images[image++]);
    } else if (runs > 0) {
      --runs;
    } else {
      const auto& grids = plan.videos[video].grids;
      plan.media.push_back({true, video++});
      plan.grids.insert(plan.grids.end(), grids.begin(), grids.end());
      runs = grids.size() - 1;
    }
  }
}

/// How many tokens each image and each run of a video has.
struct MediaTokens {
  std::vector<int> images, runs;
  std::int64_t sum = 0;
  void add(std::vector<int>& to, const Grid& grid, VisualTokens tokens_of) {
    to.push_back(tokens_of(grid));
    sum += to.back();
  }
};

}  // namespace detail

/// The ids of a conversation whose images have these sizes. Errors: PromptTooLong; images, videos and places that
/// differ in number; one that the processor refuses. Throws Cancelled.
inline PromptPlan plan_prompt(const ModelFiles& files, const vision::Processor& processor,
                              std::span<const text::Message> messages, const text::TemplateOptions& options,
                              std::span<const vision::ImageSize> sizes, std::span<const PromptVideo> videos,
                              const PromptLimits& limits) {
  PromptPlan plan;
  std::vector<Grid> images;
  std::vector<std::vector<std::string>> times;
  detail::MediaTokens tokens;
  for (const auto size : sizes) {
    images.push_back(processor.grid_for(size));
    tokens.add(tokens.images, images.back(), processor.visual_tokens());
  }
  for (const PromptVideo& video : videos) {
    plan.videos.push_back(place_video(video, processor, files.family->chat, files.tokens_per_second));
    times.push_back(plan.videos.back().times);
    for (const Grid& grid : plan.videos.back().grids) tokens.add(tokens.runs, grid, processor.visual_tokens());
  }
  detail::refuse_length(limits, tokens.sum, true);
  check_text_size(text_size(messages, options), files.tokenizer, limits);
  const auto& chat_template = options.own ? *options.own : files.chat_template;
  const auto prompt =
      text::with_video_times(chat_template.render(messages, options, limits.cancelled), times, files.family->chat);
  const auto places = static_cast<std::int64_t>(tokens.images.size() + tokens.runs.size());
  try {
    // A prompt of up to twice the context is counted to its end, for the message.
    const auto most = 2 * static_cast<std::size_t>(limits.max_model_len) + static_cast<std::size_t>(places);
    plan.ids = files.tokenizer.encode(prompt, {.max_ids = most, .cancelled = limits.cancelled});
  } catch (const text::TooManyIds& e) {
    detail::refuse_length(limits, static_cast<std::int64_t>(e.at_least) - places + tokens.sum, true);
    throw;
  }
  if (places > 0 && limits.truncation.tokens > 0)
    fail("truncate_prompt_tokens: is ", limits.truncation.tokens,
         ", but the prompt holds images or videos, whose places cannot be cut off: leave it out");
  if (places == 0) truncate(plan.ids, limits);
  if (const auto shown = std::count(plan.ids.begin(), plan.ids.end(), files.pads.image); shown != std::ssize(sizes))
    fail("messages: ", sizes.size(), " images, but the chat template shows ", shown,
         ": does a system or assistant message hold one?");
  detail::refuse_length(limits, static_cast<std::int64_t>(plan.ids.size()) - places + tokens.sum, false);
  detail::order_media(plan.ids, files.pads, images, plan);
  plan.ids = text::expand_media(plan.ids, files.pads, tokens.images, tokens.runs);
  return plan;
}

/// The sequence that a model reads for a conversation: one sequence, no labels. Errors as plan_prompt's.
inline Batch make_prompt(const ModelFiles& files, const vision::Processor& processor,
                         const PromptMessages& conversation, const text::TemplateOptions& options,
                         const PromptLimits& limits) {
  std::vector<vision::ImageSize> sizes;
  for (const auto& image : conversation.images) sizes.push_back(image.size());
  PromptPlan plan = plan_prompt(files, processor, conversation.messages, options, sizes, conversation.videos, limits);
  const auto media = plan.media;
  const auto places = plan.videos;
  Batch batch = std::move(plan).batch();
  for (const PromptPlan::Medium& medium : media) {
    if (!medium.is_video) {
      processor.append_patches(conversation.images[medium.number], batch.patches);
      continue;
    }
    const Grid clip = places[medium.number].clip();
    const std::size_t start = batch.patches.size();
    batch.patches.resize(start +
                         static_cast<std::size_t>(clip.patches()) * static_cast<std::size_t>(processor.row_length()));
    write_patches(conversation.videos[medium.number], clip, processor, std::span(batch.patches).subspan(start));
  }
  return batch;
}

}  // namespace lamina::serve
