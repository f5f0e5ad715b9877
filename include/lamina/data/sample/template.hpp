#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/data/sample/tools.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/model/families.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::data {

/// A template of a run: one of LLaMA-Factory's, the layout that it writes, and the system prompt that is used if the
/// data has none.
struct ChatLayout {
  std::string name;
  std::string default_system;
  bool reasoning = false;  ///< an answer without thought gets an empty one
  std::string plain;       ///< of a reasoning template: that of the models which do not think
  const ChatFormat* chat = nullptr;
  const ToolMarks* tools = nullptr;
  bool takes_images = true;

  /// The one of that name among those of all families. `system` overrides the default system prompt.
  static ChatLayout named(const std::string& name, const std::optional<std::string>& system = std::nullopt) {
    const auto [family, found] = find_template(name);
    if (found)
      return {name,
              system.value_or(std::string(found->default_system)),
              found->reasoning,
              std::string(found->plain),
              &family->chat,
              found->tools,
              found->takes_images};
    std::vector<std::string> known;
    std::string uses;
    for (const Family* other : families())
      for (const TrainingTemplate& t : other->templates) {
        known.emplace_back(t.name);
        uses += (uses.empty() ? "" : ", ") + known.back() + " is for " + std::string(t.models);
      }
    if (name.empty()) io::usage("template: not set: ", uses);
    if (name == "default")
      io::usage("template: default writes Human: and Assistant: in place of the marks that these models know, and is ",
                "not built: ", uses);
    io::usage("template: ", name, " is unknown", io::did_you_mean(name, known), "; known are ", io::listed(known));
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
  std::vector<std::string> target;  ///< the text that is learned, with the end of the turn and the newline after it
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

/// "<begin>role<end>", and what ends a turn.
inline std::string header(const ChatFormat& chat, std::string_view role) {
  return cat(chat.turn_begin, role, chat.role_end);
}
inline std::string turn_end(const ChatFormat& chat) { return cat(chat.turn_end, chat.turn_break); }

inline std::string render_turn(const ChatLayout& layout, const Turn& turn) {
  const ChatFormat& chat = *layout.chat;
  const std::string end = turn_end(chat), answer = end + header(chat, chat.assistant);
  if (!layout.tools && (turn.role == Role::observation || turn.role == Role::function))
    fail("template ", layout.name, " knows no functions");
  switch (turn.role) {
    case Role::user:
      return header(chat, chat.user) + turn.content + answer;
    case Role::observation:
      return cat(chat.turn_begin, chat.user, "\n", layout.tools->response_begin, "\n", turn.content, "\n",
                 layout.tools->response_end, answer);
    case Role::assistant:
      return turn.content + end;
    case Role::function:
      return function_text(turn.content, *layout.tools) + end;
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
inline std::vector<RenderedPair> render_pairs(const ChatLayout& layout, std::vector<Turn> turns,
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
      if (!tools.empty() && !layout.tools) fail("template ", layout.name, " knows no functions");
      pairs[p].source.push_back(cat(detail::header(*layout.chat, layout.chat->system), head,
                                    tools.empty() ? "" : tools_text(tools, *layout.tools),
                                    detail::turn_end(*layout.chat)));
    }
    pairs[p].source.push_back(detail::render_turn(layout, question));
    const bool thinks =
        answer.content.find("<think>") != std::string::npos || answer.content.find("</think>") != std::string::npos;
    const bool in_history = (options.drop_history_thoughts || options.last_answer_only) && p + 1 < pairs.size();
    if (layout.reasoning && !thinks && !in_history) {  // learned if thinking is on, given if it is off
      (options.enable_thinking.value_or(false) ? pairs[p].target : pairs[p].source).push_back(empty_thought);
    }
    pairs[p].target.push_back(detail::render_turn(layout, answer));
  }
  return pairs;
}

}  // namespace lamina::data
