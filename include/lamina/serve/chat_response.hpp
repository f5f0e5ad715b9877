#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/generate.hpp>
#include <lamina/serve/json_fields.hpp>
#include <lamina/text/tokenizer.hpp>

namespace lamina::serve {

/// What every object of one answer carries.
struct ResponseHead {
  std::string id;  ///< "chatcmpl-..."
  std::int64_t created = 0;
  std::string model, role = "assistant";
};

struct Usage {
  int prompt_tokens = 0, completion_tokens = 0;
  bool prompt_details = false;  ///< --enable-prompt-tokens-details: say that nothing came from a cache
};

/// One finished choice.
struct Choice {
  int index = 0;
  std::string text;
  std::vector<Sampled> tokens;
  std::vector<int> ids;
  Completion done;
};

/// JSON on one line; bytes that are not UTF-8 become U+FFFD.
inline std::string compact(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

inline Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"prompt_tokens_details", usage.prompt_details ? Json{{"cached_tokens", 0}} : Json()}};
}

inline Json stop_reason_json(const Completion& done) {
  if (const auto* text = std::get_if<std::string>(&done.stop_reason)) return *text;
  if (const auto* id = std::get_if<int>(&done.stop_reason)) return *id;
  return nullptr;
}

/// {"content": [one entry a token]}; as_ids spells a token "token_id:123".
inline Json logprobs_json(const text::Tokenizer& tokenizer, const std::vector<Sampled>& tokens, bool as_ids) {
  const auto entry = [&](const TokenLogprob& t) -> Json {
    const int ids[] = {t.id};
    const std::string text = as_ids ? cat("token_id:", t.id) : tokenizer.decode(ids);
    Json bytes = Json::array();
    for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
    return {{"token", text}, {"logprob", t.logprob}, {"bytes", bytes}};
  };
  Json content = Json::array();
  for (const auto& token : tokens) {
    Json item = entry(token.token), top = Json::array();
    for (const auto& other : token.top) top.push_back(entry(other));
    item["top_logprobs"] = std::move(top);
    content.push_back(std::move(item));
  }
  return {{"content", std::move(content)}};
}

/// The whole answer of a request that is not streamed. `logprobs` holds logprobs_json of each choice, or null.
/// prompt_ids: for a request with return_token_ids, which also gets those of the choices; otherwise null.
inline Json chat_completion_json(const ResponseHead& head, const std::vector<Choice>& choices,
                                 const std::vector<Json>& logprobs, const Usage& usage,
                                 const std::vector<int>* prompt_ids = nullptr) {
  Json list = Json::array();
  for (std::size_t i = 0; i < choices.size(); ++i)
    list.push_back({{"index", choices[i].index},
                    {"message",
                     {{"role", head.role},
                      {"content", choices[i].text},
                      {"refusal", nullptr},
                      {"annotations", nullptr},
                      {"audio", nullptr},
                      {"function_call", nullptr}}},
                    {"logprobs", logprobs[i]},
                    {"finish_reason", name_of(choices[i].done.finish)},
                    {"stop_reason", stop_reason_json(choices[i].done)},
                    {"token_ids", prompt_ids ? Json(choices[i].ids) : Json()}});
  return {{"id", head.id},
          {"object", "chat.completion"},
          {"created", head.created},
          {"model", head.model},
          {"choices", std::move(list)},
          {"service_tier", nullptr},
          {"system_fingerprint", nullptr},
          {"usage", usage_json(usage)},
          {"prompt_logprobs", nullptr},
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

/// A chunk with one choice's delta; done only with the last one of the choice.
inline Json chunk_json(const ResponseHead& head, int index, Json delta, Json logprobs, const Completion* done) {
  Json chunk = chunk_json(head);
  Json choice = {{"index", index},
                 {"delta", std::move(delta)},
                 {"logprobs", std::move(logprobs)},
                 {"finish_reason", done ? Json(name_of(done->finish)) : Json()}};
  if (done) choice["stop_reason"] = stop_reason_json(*done);
  chunk["choices"].push_back(std::move(choice));
  return chunk;
}

/// One event of a stream.
inline std::string sse_event(const std::string& data) { return "data: " + data + "\n\n"; }

}  // namespace lamina::serve
