#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <lamina/core/threads/cancelled.hpp>
#include <lamina/serve/jobs/service.hpp>
#include <lamina/serve/openai.hpp>

/// What text becomes as tokens, and back. No model runs.
namespace lamina::serve {

namespace detail {
/// Written as text, a few thousand tokens at a time; its size is bounded by AnswerLimits.
inline std::string token_list(const ChatService& service, const std::vector<int>& ids, bool with_strings,
                              const std::stop_token& cancelled) {
  AnswerText out(service.options().answers);
  const auto list = [&](auto write) {
    std::string piece = "[";
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i) piece += ',';
      piece += write(ids[i]);
      if ((i + 1) % 4096 != 0) continue;
      throw_if_stopped(cancelled);
      out.append(piece);
      piece.clear();
    }
    out.append(piece + "]");
  };
  out.append(open_end({{"count", ids.size()}, {"max_model_len", service.max_model_len()}}) + R"(,"tokens":)");
  list([](int id) { return std::to_string(id); });
  out.append(R"(,"token_strs":)");
  if (with_strings)
    list([&](int id) { return compact(Json(service.files().tokenizer.decode(std::span(&id, 1)))); });
  else
    out.append("null");
  out.append("}");
  return out.take();
}
/// The size is known before any of the text is made. The decoded text is not copied but for its JSON.
inline std::string text_of(const ChatService& service, const std::vector<int>& ids, const std::stop_token& cancelled) {
  const auto& tokenizer = service.files().tokenizer;
  const std::uint64_t most = service.options().answers.one;
  std::uint64_t size = 0;
  for (const int id : ids) size += tokenizer.bytes_of(id).size();
  if (size > most) throw bad_field("tokens", cat("tokens: are ", size, " bytes of text, at most ", most));
  throw_if_stopped(cancelled);
  AnswerText out(service.options().answers);
  out.append(R"({"prompt":)");
  out.append(compact(Json(tokenizer.decode(ids))));
  out.append("}");
  return out.take();
}
/// Runs `work` on the body of a request whose model is there; what it returns is the answer's JSON.
template <class F>
void answer_body(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request, F work) {
  const auto shared = std::make_shared<HttpRequest>(std::move(request));
  service.post(exchange, *shared, [&service, exchange, shared, work](const std::stop_token& cancelled) {
    JsonTree json = parse_body(shared->body.text(), cancelled);
    shared->body.release();
    service.check_model(Fields(*json).maybe_text("model"));
    exchange->reply({200, work(*json, cancelled), "application/json", {}});
  });
}
}  // namespace detail

/// POST /v1/messages/count_tokens.
inline void count_message_tokens(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request) {
  const auto work = [&service](Json& body, const std::stop_token& cancelled) {
    body.emplace("max_tokens", 1);  // which this route does not have
    auto asked = read_messages_request(body, service.limits(), service.files().defaults);
    return compact({{"input_tokens", service.tokenize(std::move(asked), cancelled).size()}});
  };
  detail::answer_body(service, std::move(exchange), std::move(request), work);
}
/// POST /v1/responses/input_tokens.
inline void count_response_tokens(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request) {
  const auto work = [&service](const Json& body, const std::stop_token& cancelled) {
    auto asked = read_responses_request(body, service.limits(), service.files().defaults);
    const auto places = asked.places;
    const auto ids = places->guard([&] { return service.tokenize(std::move(asked), cancelled); });
    return compact({{"object", "response.input_tokens"}, {"input_tokens", ids.size()}});
  };
  detail::answer_body(service, std::move(exchange), std::move(request), work);
}
/// POST /tokenize.
inline void answer_tokenize(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request) {
  const auto work = [&service](const Json& body, const std::stop_token& cancelled) {
    const Fields fields(body);
    std::vector<int> ids;
    if (const auto prompt = fields.maybe_text("prompt"))
      ids = service.tokenize(*prompt, cancelled);
    else
      ids = service.tokenize(read_chat_request(body, service.limits(), service.files().defaults), cancelled);
    return detail::token_list(service, ids, fields.boolean("return_token_strs"), cancelled);
  };
  detail::answer_body(service, std::move(exchange), std::move(request), work);
}
/// POST /detokenize.
inline void answer_detokenize(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request) {
  const auto work = [&service](const Json& body, const std::stop_token& cancelled) {
    const Json* list = Fields(body).maybe_list("tokens");
    if (!list) throw wrong_field("tokens", "missing", "a list of token ids");
    std::vector<int> ids;
    for (const auto& id : *list) {
      if (!id.is_number_integer() || id < 0 || id >= service.limits().vocab_size)
        throw wrong_field(cat("tokens.", ids.size()), shown(id), cat("a token id below ", service.limits().vocab_size));
      ids.push_back(id.get<int>());
    }
    return detail::text_of(service, ids, cancelled);
  };
  detail::answer_body(service, std::move(exchange), std::move(request), work);
}

}  // namespace lamina::serve
