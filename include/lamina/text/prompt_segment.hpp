#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::text {

/// A run of a prompt's text and its author: the chat template, or the messages, tools and tool calls that it shows.
/// Only the template's words may become control tokens.
struct PromptSegment {
  std::string text;
  bool is_template = true;
};

/// Appends text; neighbours of one author are one segment, so that a word split over two content parts is whole again.
inline void append_segment(std::vector<PromptSegment>& prompt, std::string_view text, bool is_template) {
  if (text.empty()) return;
  if (prompt.empty() || prompt.back().is_template != is_template) prompt.push_back({{}, is_template});
  prompt.back().text += text;
}

/// The whole text.
inline std::string joined(std::span<const PromptSegment> prompt) {
  std::string out;
  for (const PromptSegment& segment : prompt) out += segment.text;
  return out;
}

}  // namespace lamina::text
