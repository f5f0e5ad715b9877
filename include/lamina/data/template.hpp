#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/records.hpp>
#include <lamina/data/tools.hpp>
#include <lamina/io/nearest_word.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::data {

/// One of LLaMA-Factory's templates for these models. All share one byte layout and differ in the system prompt and in
/// whether an answer begins with a thought.
struct Template {
  std::string name;
  std::string default_system;  ///< used if the data has no system prompt
  bool reasoning = false;      ///< an answer without thought gets an empty one

  /// qwen2_vl, qwen3_vl or qwen3_vl_nothink. `system` overrides the default system prompt.
  static Template named(const std::string& name, const std::optional<std::string>& system = std::nullopt) {
    const std::vector<std::string> known = {"qwen2_vl", "qwen3_vl", "qwen3_vl_nothink"};
    if (name.empty()) {
      fail("template: not set: qwen2_vl is for Qwen2.5-VL, qwen3_vl_nothink for Qwen3-VL Instruct, qwen3_vl for ",
           "Qwen3-VL Thinking");
    }
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      fail("template: ", name, " is unknown", did_you_mean(name, known), "; known are ", listed(known));
    }
    const std::string own = name == "qwen2_vl" ? "You are a helpful assistant." : "";
    return {name, system.value_or(own), name == "qwen3_vl"};
  }
};

/// Settings of reasoning templates, and of which tokens are learned.
struct RenderOptions {
  std::optional<bool> enable_thinking = true;  ///< nothing: as false, but thoughts of the data are kept
  bool drop_history_thoughts = false;          ///< mask_history or last_answer_only, without preserve_thinking
  bool last_answer_only = false;               ///< the answers before the last are history, in which no thought is put
};

/// One question and its answer. Each text is tokenised on its own: no token spans two of them.
struct RenderedPair {
  std::vector<std::string> source;  ///< the prompt, ending with the assistant's header
  std::vector<std::string> target;  ///< the text that is learned, with <|im_end|> and the newline after it
};

/// The text without its thoughts, and without the newlines that then begin it.
inline std::string without_thoughts(std::string_view text) {
  std::string out;
  for (Tagged thought; (thought = find_tagged(text, thought_open, thought_close)).size;) {
    out += text.substr(0, thought.at);
    text.remove_prefix(thought.at + thought.size);
  }
  out += text;
  return out.substr(std::min(out.find_first_not_of('\n'), out.size()));
}

namespace detail {

inline std::string render_turn(const Turn& turn) {
  switch (turn.role) {
    case Role::user:
      return "<|im_start|>user\n" + turn.content + "<|im_end|>\n<|im_start|>assistant\n";
    case Role::observation:
      return "<|im_start|>user\n<tool_response>\n" + turn.content +
             "\n</tool_response><|im_end|>\n<|im_start|>assistant\n";
    case Role::assistant:
      return turn.content + "<|im_end|>\n";
    case Role::function:
      return function_text(turn.content) + "<|im_end|>\n";
  }
  fail("template: unknown role");
}

/// Removes the thoughts that a reasoning template does not show to the model.
inline void drop_thoughts(std::vector<Turn>& turns, const RenderOptions& options) {
  const bool all = options.enable_thinking == false;
  for (std::size_t i = 1; i < turns.size(); i += 2) {
    const bool in_history = i + 1 < turns.size();
    if ((all && !(in_history && options.last_answer_only)) || (options.drop_history_thoughts && in_history)) {
      turns[i].content = without_thoughts(turns[i].content);
    }
  }
}

}  // namespace detail

/// Renders turns (in pairs, images already expanded) with their system prompt and tools.
/// source  LLaMA-Factory, data/template.py. One thing is left out on purpose: there, "{{idx}}" inside a user's text
///         is replaced by the number of the turn.
inline std::vector<RenderedPair> render_pairs(const Template& layout, std::vector<Turn> turns,
                                              const std::string& system, const std::string& tools,
                                              const RenderOptions& options) {
  if (layout.reasoning) detail::drop_thoughts(turns, options);
  std::vector<RenderedPair> pairs(turns.size() / 2);
  const std::string head = (system.empty() ? layout.default_system : system);
  const bool has_head = !head.empty() || !tools.empty();
  const std::string empty_thought = std::string(thought_open) + std::string(thought_close);
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const Turn &question = turns[2 * p], &answer = turns[2 * p + 1];
    if (p == 0 && has_head) {
      pairs[p].source.push_back("<|im_start|>system\n" + head + (tools.empty() ? "" : tools_text(tools)) +
                                "<|im_end|>\n");
    }
    pairs[p].source.push_back(detail::render_turn(question));
    const bool thinks =
        answer.content.find("<think>") != std::string::npos || answer.content.find("</think>") != std::string::npos;
    const bool in_history = (options.drop_history_thoughts || options.last_answer_only) && p + 1 < pairs.size();
    if (layout.reasoning && !thinks && !in_history) {  // learned if thinking is on, given if it is off
      (options.enable_thinking.value_or(false) ? pairs[p].target : pairs[p].source).push_back(empty_thought);
    }
    pairs[p].target.push_back(detail::render_turn(answer));
  }
  return pairs;
}

}  // namespace lamina::data
