#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/serve/model_files.hpp>
#include <lamina/vision/image.hpp>

namespace lamina::serve {

/// Turns and their pictures, in the order of the messages' image parts.
struct Conversation {
  std::vector<text::Message> messages;
  std::vector<vision::Image> images;
};

namespace detail {

/// A character of the private use area that none of the texts holds.
inline std::string unused_character(std::span<const text::Message> messages) {
  for (char third = '\x80'; third != '\xC0'; ++third) {
    const std::string candidate = {'\xEE', '\x80', third};
    const auto holds = [&](const text::Part& part) { return part.text.find(candidate) != std::string::npos; };
    if (std::none_of(messages.begin(), messages.end(), [&](const text::Message& m) {
          return std::any_of(m.parts.begin(), m.parts.end(), holds) ||
                 std::any_of(m.tool_calls.begin(), m.tool_calls.end(), [&](const text::ToolCall& call) {
                   return (call.name + call.arguments).find(candidate) != std::string::npos;
                 });
        }))
      return candidate;
  }
  fail("messages: the text uses every character from U+E000 to U+E03F; remove one");
}

inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace detail

/// Text to ids such that only the template's own words become control tokens: a user who types <|im_end|> or
/// <|image_pad|> gets its letters. Every "<|" of the content carries a mark while the template runs; whatever "<|...|>"
/// is without one came from the template.
class PromptWriter {
 public:
  /// Both must outlive the writer.
  PromptWriter(const ModelFiles& files, std::vector<text::Message> messages, const text::TemplateOptions& options)
      : files_(files), mark_("<" + detail::unused_character(messages) + "|") {
    for (auto& message : messages) {
      for (auto& part : message.parts) detail::replace_all(part.text, "<|", mark_);
      for (auto& call : message.tool_calls) {
        detail::replace_all(call.name, "<|", mark_);
        detail::replace_all(call.arguments, "<|", mark_);
      }
    }
    auto marked = options;
    for (auto& tool : marked.tools) detail::replace_all(tool, "<|", mark_);
    text_ = text::render(files.family, messages, marked);
  }

  /// Pictures that the template asks for.
  std::size_t image_count() const {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text_.find(text::image_pad, at)) != std::string::npos; ++at) ++n;
    return n;
  }

  /// The ids, with each placeholder repeated so many times.
  std::vector<int> ids(std::span<const int> tokens_per_image) const {
    const std::string expanded = text::expand_images(text_, tokens_per_image);
    if (expanded.find(mark_) == std::string::npos) return files_.tokenizer.encode(expanded);
    std::vector<int> out;
    for (std::size_t at = 0, next = 0; at < expanded.size(); at = next) {
      next = expanded.find("<|", at);
      if (next == at) {
        next = expanded.find("|>", at) + 2;
        append(out, files_.tokenizer.encode(expanded.substr(at, next - at)));
      } else {
        next = std::min(next, expanded.size());
        std::string piece = expanded.substr(at, next - at);
        detail::replace_all(piece, mark_, "<|");
        append(out, files_.tokenizer.encode(piece, text::Tokenizer::Special::as_text));
      }
    }
    return out;
  }

 private:
  static void append(std::vector<int>& out, const std::vector<int>& more) {
    out.insert(out.end(), more.begin(), more.end());
  }
  const ModelFiles& files_;
  std::string mark_, text_;
};

/// The sequence that a model reads for a conversation: one sequence, no labels. Error where pictures and placeholders
/// differ in number, or where the ids would be more than max_tokens (checked before any picture is cut into patches).
inline Batch make_prompt(const ModelFiles& files, const vision::Processor& processor, Conversation conversation,
                         const text::TemplateOptions& options, int max_tokens) {
  const PromptWriter writer(files, std::move(conversation.messages), options);
  const auto& images = conversation.images;
  if (writer.image_count() != images.size())
    fail("messages: ", images.size(), " pictures, but the chat template shows ", writer.image_count(),
         ": does a system or assistant message hold one?");
  std::vector<int> tokens;
  std::int64_t image_tokens = 0;
  for (const auto& image : images) {
    tokens.push_back(processor.grid_for(image.size()).tokens(processor.merge_size));
    image_tokens += tokens.back();
  }
  if (image_tokens > max_tokens)
    fail("prompt: the pictures alone are ", image_tokens, " tokens, the limit is ", max_tokens, " tokens");
  Batch batch;
  batch.ids = writer.ids(tokens);
  if (static_cast<std::int64_t>(batch.ids.size()) > max_tokens)
    fail("prompt: ", batch.ids.size(), " tokens, the limit is ", max_tokens, " tokens");
  batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
  if (std::count(batch.ids.begin(), batch.ids.end(), files.image_pad) != image_tokens)
    fail("prompt: ", text::image_pad, " tokens do not match the pictures' ", image_tokens);
  for (const auto& image : images) batch.grids.push_back(processor.append_patches(image, batch.patches));
  return batch;
}

}  // namespace lamina::serve
