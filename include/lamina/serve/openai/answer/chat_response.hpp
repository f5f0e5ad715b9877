#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lamina/engine/request/answer.hpp>
#include <lamina/serve/jobs/random_id.hpp>
#include <lamina/serve/openai/answer/message_parser.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>
#include <lamina/text/tokenizer.hpp>

namespace lamina::serve {
using engine::Completion;
using engine::Delta;

/// What every object of one answer carries.
struct ResponseHead {
  std::string id;  ///< "chatcmpl-..."
  std::int64_t created = 0;
  std::string model, role = "assistant";
};

struct Usage {
  int prompt_tokens = 0, completion_tokens = 0;
  int cached_tokens = 0;        ///< of the prompt, that other requests had computed
  bool prompt_details = false;  ///< --enable-prompt-tokens-details: tell cached_tokens
};

/// One finished choice.
struct Choice {
  int index = 0;
  std::string text;
  std::vector<int> ids;
  Completion done;
};

/// JSON on one line; bytes that are not UTF-8 become U+FFFD.
inline std::string compact(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// The members of an object as text that more can be written behind, or before.
inline std::string open_end(const Json& object) {
  std::string text = compact(object);
  text.pop_back();
  return text;
}
inline std::string open_start(const Json& object) { return compact(object).substr(1); }

inline Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"prompt_tokens_details", usage.prompt_details ? Json{{"cached_tokens", usage.cached_tokens}} : Json()}};
}

inline Json stop_reason_json(const Completion& done) {
  if (const auto* text = std::get_if<std::string>(&done.stop_reason)) return *text;
  if (const auto* id = std::get_if<int>(&done.stop_reason)) return *id;
  return nullptr;
}

/// The entry of one token; as_ids spells a token "token_id:123".
inline Json logprob_json(const text::Tokenizer& tokenizer, const engine::Sampled& sampled, bool as_ids) {
  const auto entry = [&](const engine::TokenLogprob& t) -> Json {
    const int ids[] = {t.id};
    const std::string text = as_ids ? cat("token_id:", t.id) : tokenizer.decode(ids);
    Json bytes = Json::array();
    for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
    return {{"token", text}, {"logprob", t.logprob}, {"bytes", bytes}};
  };
  Json item = entry(sampled.token), top = Json::array();
  for (const auto& other : sampled.top) top.push_back(entry(other));
  item["top_logprobs"] = std::move(top);
  return item;
}

/// {"content": [one entry per token]}.
inline Json logprobs_json(const text::Tokenizer& tokenizer, const std::vector<engine::Sampled>& tokens, bool as_ids) {
  Json content = Json::array();
  for (const auto& token : tokens) content.push_back(logprob_json(tokenizer, token, as_ids));
  return {{"content", std::move(content)}};
}

/// A call of a function, whole or its first part. Its id is new.
inline Json tool_call_json(const ToolCallPart& call) {
  return {{"id", "chatcmpl-tool-" + random_id()},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

/// What a message has besides its role: content is null if there is something else, and no text.
inline Json message_json(const MessageForm& form, const MessagePiece& message) {
  const bool other = form.reasoning || !message.calls.empty();
  Json out = {{"content", other && message.content.empty() ? Json() : Json(message.content)},
              {"refusal", nullptr},
              {"annotations", nullptr},
              {"audio", nullptr},
              {"function_call", nullptr}};
  for (const auto& call : message.calls) out["tool_calls"].push_back(tool_call_json(call));
  if (!form.reasoning) return out;
  const Json reasoning = message.reasoning.empty() ? Json() : Json(message.reasoning);
  out["reasoning"] = out["reasoning_content"] = reasoning;  // the newer name, and the older
  return out;
}

/// Why a choice ended: calls end it as such, but for a function that the request named.
inline const char* finish_name(const MessageForm& form, int calls, const Completion& done) {
  const bool called = calls > 0 && !form.named_tool && done.finish == engine::FinishReason::stop;
  return called ? "tool_calls" : engine::name_of(done.finish);
}

/// One choice of an answer that is not streamed, without its logprobs, which may be large.
inline Json choice_json(const ResponseHead& head, const Choice& choice, const MessageForm& form, bool with_ids) {
  MessagePiece parsed = form.plain() ? MessagePiece{{}, choice.text, {}} : parse_message(form, choice.text);
  parsed.content.insert(0, form.echo);
  Json message = {{"role", head.role}};
  message.update(message_json(form, parsed));
  return {{"index", choice.index},
          {"message", std::move(message)},
          {"finish_reason", finish_name(form, static_cast<int>(parsed.calls.size()), choice.done)},
          {"stop_reason", stop_reason_json(choice.done)},
          {"token_ids", with_ids ? Json(choice.ids) : Json()}};
}

/// What an answer that is not streamed has before its choices.
inline Json completion_head_json(const ResponseHead& head) {
  return {{"id", head.id}, {"object", "chat.completion"}, {"created", head.created}, {"model", head.model}};
}
/// What it has after them. prompt_ids: for a request with return_token_ids, otherwise null.
inline Json completion_tail_json(const Usage& usage, const std::vector<int>* prompt_ids) {
  return {{"service_tier", nullptr},
          {"system_fingerprint", nullptr},
          {"usage", usage_json(usage)},
          {"prompt_token_ids", prompt_ids ? Json(*prompt_ids) : Json()},
          {"kv_transfer_params", nullptr}};
}

/// A chunk without choices: what the usage at the end of a stream travels in.
inline Json chunk_json(const ResponseHead& head) {
  return {{"id", head.id},
          {"object", "chat.completion.chunk"},
          {"created", head.created},
          {"model", head.model},
          {"choices", Json::array()}};
}

/// A chunk with one choice's delta. finish: with the last one of the choice, otherwise null
inline Json chunk_json(const ResponseHead& head, int index, Json delta, Json logprobs, const char* finish = nullptr) {
  Json chunk = chunk_json(head);
  Json choice = {{"index", index},
                 {"delta", std::move(delta)},
                 {"logprobs", std::move(logprobs)},
                 {"finish_reason", finish ? Json(finish) : Json()}};
  chunk["choices"].push_back(std::move(choice));
  return chunk;
}

/// Chunks of one choice that hold text and nothing else: most of a stream. Only the text is written anew.
class PlainChunk {
 public:
  PlainChunk(const ResponseHead& head, int index) {
    const std::string text = compact(chunk_json(head, index, {{"content", place}}, nullptr));
    const std::string quoted = compact(place);
    const std::size_t at = text.find(quoted);
    before_ = text.substr(0, at);
    after_ = text.substr(at + quoted.size());
  }
  std::string text(const std::string& content) const { return before_ + compact(content) + after_; }

 private:
  static constexpr const char* place = "\x01";  ///< no other member of a chunk is this text
  std::string before_, after_;
};

/// One event of a stream.
inline std::string sse_event(const std::string& data) { return "data: " + data + "\n\n"; }

}  // namespace lamina::serve
