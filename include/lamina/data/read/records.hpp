#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/columns.hpp>
#include <lamina/data/read/conversation.hpp>
#include <lamina/data/read/registry.hpp>
#include <lamina/data/read/rows.hpp>
#include <lamina/data/sample/tools.hpp>
#include <lamina/text/python_json.hpp>

#include <array>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace lamina::data {

namespace detail {

/// [[user, assistant], ...] in front of an alpaca record's own turn.
inline void add_history(const Row& row, const Columns::Name& name, std::vector<Turn>& turns) {
  const Json& history = column(row.value, name);
  if (!history.is_array()) return;
  for (const Json& pair : history) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      fail(row.origin(), ": \"", *name, "\" must be a list of [user, assistant] pairs of text, got ", pair.dump());
    }
    turns.push_back({Role::user, pair[0].get<std::string>()});
    turns.push_back({Role::assistant, pair[1].get<std::string>()});
  }
}

/// The turns of an alpaca record up to its answer.
inline void add_question(const Row& row, const DatasetInfo& info, Conversation& conversation) {
  add_history(row, info.columns.history, conversation.turns);
  std::string prompt = text_column(row, info.columns.prompt);
  const std::string query = text_column(row, info.columns.query);
  if (!prompt.empty() && !query.empty()) prompt += "\n";
  conversation.turns.push_back({Role::user, prompt + query});
}

/// The bool of kto_tag.
inline std::optional<Dropped> read_tag(const Row& row, const DatasetInfo& info, Conversation& conversation) {
  if (!info.columns.kto_tag) return std::nullopt;
  const Json& tag = column(row.value, info.columns.kto_tag);
  if (!tag.is_boolean()) return Dropped{cat("\"", *info.columns.kto_tag, "\" is not true or false")};
  conversation.desirable = tag.get<bool>();
  return std::nullopt;
}

/// Ranking data of alpaca: the chosen answer becomes the last turn.
inline Converted with_answers(const Row& row, const DatasetInfo& info, Conversation conversation) {
  for (const auto& name : {info.columns.chosen, info.columns.rejected}) {
    const Json& answer = column(row.value, name);
    if (!answer.is_string()) return Dropped{cat("no text in \"", name.value_or("chosen and rejected"), "\"")};
  }
  conversation.turns.push_back({Role::assistant, text_column(row, info.columns.chosen)});
  conversation.rejected = Turn{Role::assistant, text_column(row, info.columns.rejected)};
  return conversation;
}

inline Converted convert_alpaca(const Row& row, const DatasetInfo& info) {
  Conversation conversation = begin_conversation(row, info);
  add_question(row, info, conversation);
  if (info.ranking) return with_answers(row, info, std::move(conversation));
  if (auto dropped = read_tag(row, info, conversation)) return *dropped;
  const Json& response = column(row.value, info.columns.response);
  if (!response.is_string()) return Dropped{cat("no text in \"", info.columns.response.value_or("output"), "\"")};
  conversation.turns.push_back({Role::assistant, response.get<std::string>()});
  return conversation;
}

/// The list of messages of a sharegpt or openai record; an absent one is empty, as in a table of columns.
inline std::vector<Json> message_list(const Row& row, const Columns::Name& name) {
  const Json& value = column(row.value, name);
  if (value.is_null()) return {};
  if (!value.is_array())
    fail(row.origin(), ": \"", *name, "\" is ", value.type_name(), ", a list of messages is wanted");
  std::vector<Json> messages;
  for (const Json& message : value) {
    if (!message.is_object()) {
      fail(row.origin(), ": message ", messages.size() + 1, " is ", message.dump(), ", an object is wanted");
    }
    messages.push_back(message);
  }
  return messages;
}

/// The text under a tag of one message; anything but text is null.
inline std::optional<std::string> tagged(const Json& message, const Tags::Name& tag) {
  const Json& value = column(message, tag);
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

/// A first message of the system role becomes the system prompt, before the system column, and leaves the list.
inline void take_system(std::vector<Json>& messages, const Tags& tags, Conversation& conversation) {
  if (!tags.system_tag || messages.empty() || tagged(messages[0], tags.role_tag) != tags.system_tag) return;
  conversation.system = tagged(messages[0], tags.content_tag).value_or("");
  messages.erase(messages.begin());
}

/// The role that a tag names; nothing for the system role, which may only come first, and for unknown ones.
inline std::optional<Role> role_of(const std::string& word, const Tags& tags) {
  if (word == tags.user_tag) return Role::user;
  if (word == tags.assistant_tag) return Role::assistant;
  if (word == tags.observation_tag) return Role::observation;
  if (word == tags.function_tag) return Role::function;
  return std::nullopt;
}

inline bool speaks_first(Role role) { return role == Role::user || role == Role::observation; }

/// Turns must alternate, the user or a tool first, and end with the model.
inline std::optional<Dropped> check_turns(const std::vector<Turn>& turns) {
  if (turns.empty()) return Dropped{"no message"};
  for (std::size_t i = 0; i < turns.size(); ++i) {
    if (speaks_first(turns[i].role) != (i % 2 == 0)) {
      return Dropped{i % 2 == 0 ? "wrong role order: a user or observation message was expected"
                                : "wrong role order: an assistant or function_call message was expected"};
    }
  }
  if (turns.size() % 2 != 0) return Dropped{"odd number of messages: the last one is not an answer"};
  return std::nullopt;
}

/// Ranking data of sharegpt and openai: the chosen message becomes the last turn.
inline std::optional<Dropped> add_answers(const Row& row, const DatasetInfo& info, Conversation& conversation) {
  std::array<Turn, 2> answers;
  for (int i = 0; i < 2; ++i) {
    const auto& name = i == 0 ? info.columns.chosen : info.columns.rejected;
    const Json& message = column(row.value, name);
    if (!message.is_object()) return Dropped{cat("no message in \"", name.value_or("chosen and rejected"), "\"")};
    const auto word = tagged(message, info.tags.role_tag), content = tagged(message, info.tags.content_tag);
    const auto role = word ? role_of(*word, info.tags) : std::nullopt;
    if (!role || speaks_first(*role) || !content) return Dropped{cat("\"", *name, "\" is no answer of the assistant")};
    answers[static_cast<std::size_t>(i)] = {*role, *content};
  }
  conversation.turns.push_back(std::move(answers[0]));
  conversation.rejected = std::move(answers[1]);
  return std::nullopt;
}

/// What follows the messages of a sharegpt or openai record, and the check of all.
inline Converted finished(const Row& row, const DatasetInfo& info, Conversation conversation) {
  if (info.ranking)
    if (auto dropped = add_answers(row, info, conversation)) return *dropped;
  if (auto dropped = check_turns(conversation.turns)) return *dropped;
  if (auto dropped = read_tag(row, info, conversation)) return *dropped;
  return conversation;
}

/// Refuses a message with something besides its content that this layout does not read and training would lose.
inline void refuse_beside(const Row& row, const Json& message, const char* key, std::string_view advice) {
  const auto found = message.find(key);
  if (found == message.end() || found->is_null() || found->empty() || *found == "") return;
  fail(row.origin(), ": a message has \"", key, "\" besides its content, which is not read here: ", advice);
}

inline Converted convert_sharegpt(const Row& row, const DatasetInfo& info) {
  Conversation conversation = begin_conversation(row, info);
  std::vector<Json> messages = message_list(row, info.columns.messages);
  take_system(messages, info.tags, conversation);
  for (const Json& message : messages) {
    const auto word = tagged(message, info.tags.role_tag), content = tagged(message, info.tags.content_tag);
    if (!word) return Dropped{cat("a message without a \"", info.tags.role_tag.value_or("role_tag"), "\"")};
    const auto role = role_of(*word, info.tags);
    if (!role) return Dropped{cat("unknown role \"", io::foreign_name(*word), "\"")};
    if (!content)
      return Dropped{cat("a message whose \"", info.tags.content_tag.value_or("content_tag"), "\" is not text")};
    refuse_beside(row, message, "tool_calls", "take \"formatting\": \"openai\", which reads it");
    conversation.turns.push_back({*role, *content});
  }
  return finished(row, info, std::move(conversation));
}

/// The functions of an assistant message's "tool_calls", or nothing if it calls none.
inline std::optional<Json> called_functions(const Row& row, const Json& message) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || calls->is_null() || calls->empty()) return std::nullopt;
  Json functions = Json::array();
  for (const Json& call : *calls) {
    if (!call.is_object() || !call.contains("function")) {
      fail(row.origin(), ": a tool call is ", text::python_json(call), ", an object with \"function\" is wanted");
    }
    functions.push_back(call["function"]);
  }
  return functions;
}

/// The text of an openai message. An assistant's calls follow its text on a line of their own, as in the models' chat
/// template. (LLaMA-Factory loses the text.)
inline std::optional<std::string> openai_content(const Row& row, const Json& message, Role role, const Tags& tags,
                                                 const ToolMarks* marks) {
  std::optional<std::string> content = tagged(message, tags.content_tag);
  if (speaks_first(role)) return content;
  refuse_beside(row, message, "reasoning_content",
                "put the thought in front of the content, between <think> and </think>");
  refuse_beside(row, message, "function_call", "write the call as \"tool_calls\": [{\"function\": ...}]");
  const std::optional<Json> calls = called_functions(row, message);
  if (!calls) return content;
  if (!marks) fail("the message calls functions, which the template does not know");
  const std::string text = content.value_or("");
  return text + (text.empty() ? "" : "\n") + calls_text(*calls, *marks);
}

/// OpenAI's layout: calls of tools are stored next to the content, and results of parallel calls are messages of their
/// own, which become one turn. LLaMA-Factory also adds the words "detailed thinking off" to the system prompt here;
/// that belongs to another model family and is left out.
inline Converted convert_openai(const Row& row, const DatasetInfo& info, const ToolMarks* marks) {
  Conversation conversation = begin_conversation(row, info);
  std::vector<Json> messages = message_list(row, info.columns.messages);
  take_system(messages, info.tags, conversation);
  for (const Json& message : messages) {
    const auto word = tagged(message, info.tags.role_tag);
    if (!word) return Dropped{cat("a message without a \"", info.tags.role_tag.value_or("role_tag"), "\"")};
    auto role = role_of(*word, info.tags);
    if (!role) return Dropped{cat("unknown role \"", io::foreign_name(*word), "\"")};
    const auto content = openai_content(row, message, *role, info.tags, marks);
    if (!content)
      return Dropped{cat("a message whose \"", info.tags.content_tag.value_or("content_tag"), "\" is not text")};
    if (!speaks_first(*role) && called_functions(row, message)) role = Role::assistant;  // its calls are written out
    if (marks && *role == Role::observation && !conversation.turns.empty() &&
        conversation.turns.back().role == Role::observation) {
      conversation.turns.back().content += cat("\n", marks->response_end, "\n", marks->response_begin, "\n", *content);
    } else {
      conversation.turns.push_back({*role, *content});
    }
  }
  // Results that nothing answers are left out, and the turn before them is the last, as in LLaMA-Factory.
  if (!conversation.turns.empty() && conversation.turns.back().role == Role::observation) conversation.turns.pop_back();
  return finished(row, info, std::move(conversation));
}

/// The columns that records have.
struct SeenColumns {
  std::string file;                ///< of the first record
  std::vector<std::string> first;  ///< of the first record
  std::set<std::string> all;

  void add(const nlohmann::ordered_json& record, const std::string& of_file) {
    const bool is_first = file.empty();
    if (is_first) file = of_file;
    for (const auto& item : record.items()) {
      if (is_first) first.push_back(item.key());
      all.insert(item.key());
    }
  }
};

inline SeenColumns columns_of(const std::vector<Row>& rows) {
  SeenColumns seen;
  for (const Row& row : rows) seen.add(row.value, row.file);
  return seen;
}

/// Names columns that no record has: a wrong "columns" entry, or a wrong "formatting".
inline void check_columns_exist(const SeenColumns& seen, const DatasetInfo& info) {
  const Columns& columns = info.columns;
  std::vector<Columns::Name> wanted;
  if (info.formatting == Formatting::alpaca) wanted = {columns.prompt};
  if (info.formatting == Formatting::alpaca && !info.ranking) wanted.push_back(columns.response);
  if (info.formatting != Formatting::alpaca) wanted = {columns.messages};
  if (columns.given) {
    wanted.insert(wanted.end(), {columns.images, columns.videos, columns.audios, columns.kto_tag});
    if (info.ranking) wanted.insert(wanted.end(), {columns.chosen, columns.rejected});
    if (info.formatting != Formatting::openai) wanted.insert(wanted.end(), {columns.system, columns.tools});
    if (info.formatting == Formatting::alpaca) wanted.insert(wanted.end(), {columns.query, columns.history});
  }
  for (const auto& name : wanted) {
    if (!name || seen.all.contains(*name)) continue;
    fail("dataset ", info.name, ": no record of ", seen.file, " has the column \"", *name, "\"",
         io::did_you_mean(*name, seen.first), "; the first has ",
         seen.first.empty() ? "none at all" : io::listed(seen.first, 20),
         ": correct \"columns\" or \"formatting\" in dataset_info.json");
  }
}

}  // namespace detail

/// One record to turns, or the reason why it makes no sample. A value of the wrong kind is an error that names the row.
/// marks: of the functions that the run's template knows, or nullptr.
/// source  LLaMA-Factory, data/converter.py
inline Converted convert(const Row& row, const DatasetInfo& info, const ToolMarks* marks) {
  switch (info.formatting) {
    case Formatting::alpaca:
      return detail::convert_alpaca(row, info);
    case Formatting::sharegpt:
      return detail::convert_sharegpt(row, info);
    case Formatting::openai:
      return detail::convert_openai(row, info, marks);
  }
  fail("dataset ", info.name, ": unknown formatting");
}

/// The text of a record that stage: pt learns: of alpaca the first question, which "prompt" names, else the first
/// message.
using PretrainingText = std::variant<std::string, Dropped>;
inline PretrainingText pretraining_text(const Row& row, const DatasetInfo& info, const ToolMarks* marks) {
  Conversation conversation;
  if (info.formatting == Formatting::alpaca) {
    conversation = detail::begin_conversation(row, info);
    detail::add_question(row, info, conversation);
  } else {
    Converted converted = convert(row, info, marks);
    if (auto* dropped = std::get_if<Dropped>(&converted)) return *dropped;
    conversation = std::get<Conversation>(std::move(converted));
  }
  if (!conversation.images.empty() || !conversation.videos.empty())
    fail("stage: pt learns text alone, the record has images or videos: take stage: sft");
  return conversation.turns.front().content;
}

}  // namespace lamina::data
