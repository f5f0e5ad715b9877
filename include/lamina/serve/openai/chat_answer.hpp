#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/serve/generate.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/openai/answer_text.hpp>
#include <lamina/serve/openai/chat_request.hpp>
#include <lamina/serve/openai/chat_response.hpp>
#include <lamina/serve/openai/chunk_batch.hpp>

namespace lamina::serve {

/// How one request is answered: what its answer is made of, and where it goes.
struct AnswerContext {
  const text::Tokenizer& tokenizer;
  ResponseHead head;
  bool prompt_details = false;
  const std::vector<int>& prompt_ids;
  std::shared_ptr<Exchange> exchange;
  AnswerLimits limits;
};

/// The answer to one chat request, made choice by choice; other requests may come between two choices.
class ChatAnswer {
 public:
  /// Runs one completion and delivers what becomes certain.
  using Complete = std::function<Completion(const std::function<void(Delta)>& deliver)>;

  explicit ChatAnswer(AnswerContext context) : context_(std::move(context)) {}
  virtual ~ChatAnswer() = default;
  /// Makes choice i; false if it was aborted.
  virtual bool add(int i, const Complete&) = 0;
  /// After the last choice.
  virtual void finish() = 0;
  /// Ends the answer with an error: an HTTP error if nothing was sent yet.
  virtual void fail(const HttpReply& error) { context_.exchange->reply(error); }

 protected:
  AnswerContext context_;
};

/// All choices in one JSON object. What a choice is made of becomes text as it comes: the logprobs of many choices are
/// large.
class WholeAnswer : public ChatAnswer {
 public:
  WholeAnswer(AnswerContext context, const ChatRequest& request)
      : ChatAnswer(std::move(context)), request_(request), text_(context_.limits) {
    usage_.prompt_tokens = static_cast<int>(context_.prompt_ids.size());
    usage_.prompt_details = context_.prompt_details;
  }
  bool add(int i, const Complete& complete) override {
    Choice choice{.index = i, .text = {}, .ids = {}, .done = {}};
    AnswerText logprobs(context_.limits);
    choice.done = complete([&](Delta delta) {
      choice.text += delta.text;
      choice.ids.insert(choice.ids.end(), delta.ids.begin(), delta.ids.end());
      for (const auto& token : delta.tokens) {
        if (!logprobs.view().empty()) logprobs.append(",");
        logprobs.append(compact(logprob_json(context_.tokenizer, token, request_.return_tokens_as_ids)));
      }
    });
    if (choice.done.finish == FinishReason::abort) return false;
    usage_.completion_tokens += choice.done.completion_tokens;
    write(choice, logprobs.view());
    return true;
  }
  void finish() override {
    const auto* prompt_ids = request_.return_token_ids ? &context_.prompt_ids : nullptr;
    text_.append("]," + open_start(completion_tail_json(usage_, prompt_ids)));
    context_.exchange->reply({200, text_.take(), "application/json", {}});
  }

 private:
  void write(const Choice& choice, std::string_view logprobs) {
    text_.append(text_.view().empty() ? open_end(completion_head_json(context_.head)) + R"(,"choices":[)" : ",");
    text_.append(open_end(choice_json(context_.head, choice, request_.return_token_ids)));
    const bool wanted = request_.params.sampling.logprobs;
    text_.append(wanted ? R"(,"logprobs":{"content":[)" : R"(,"logprobs":null)");
    text_.append(logprobs);
    text_.append(wanted ? "]}}" : "}");
  }

  const ChatRequest& request_;
  AnswerText text_;
  Usage usage_;
};

/// Server-sent events. The head is sent with the first token, so that what fails before it is still an HTTP error; what
/// fails later is an event.
class StreamedAnswer : public ChatAnswer {
 public:
  StreamedAnswer(AnswerContext context, const ChatRequest& request)
      : ChatAnswer(std::move(context)), request_(request) {
    usage_.prompt_tokens = static_cast<int>(context_.prompt_ids.size());
    usage_.prompt_details = context_.prompt_details;
  }
  bool add(int i, const Complete& complete) override {
    bool started = false;
    const auto start = [&] {
      if (std::exchange(started, true)) return;
      Json chunk = chunk_json(context_.head, i, {{"role", context_.head.role}, {"content", ""}}, nullptr, nullptr);
      if (request_.return_token_ids && !open_) chunk["prompt_token_ids"] = context_.prompt_ids;
      send(std::move(chunk));
    };
    const auto send_delta = [&](const std::optional<Delta>& delta) {
      if (!delta) return;
      start();
      send(chunk_of(i, *delta));
    };
    ChunkBatch batch(request_.stream_interval, request_.return_token_ids);
    const int before = usage_.completion_tokens;
    const Completion done = complete([&](Delta delta) {
      usage_.completion_tokens = before + delta.completion_tokens;
      send_delta(batch.add(std::move(delta)));
    });
    if (done.finish == FinishReason::abort) return false;
    usage_.completion_tokens = before + done.completion_tokens;
    send_delta(batch.take());
    start();
    send(chunk_json(context_.head, i, Json::object(), nullptr, &done));
    return true;
  }
  void finish() override {
    if (request_.include_usage) {
      Json last = chunk_json(context_.head);
      last["usage"] = usage_json(usage_);
      write(compact(last));
    }
    end();
  }
  void fail(const HttpReply& error) override {
    if (!open_) return ChatAnswer::fail(error);
    write(error.body);
    end();
  }

 private:
  Json chunk_of(int i, const Delta& delta) const {
    Json logprobs =
        delta.tokens.empty() ? Json() : logprobs_json(context_.tokenizer, delta.tokens, request_.return_tokens_as_ids);
    Json chunk = chunk_json(context_.head, i, {{"content", delta.text}}, std::move(logprobs), nullptr);
    if (request_.return_token_ids) chunk["choices"][0]["token_ids"] = delta.ids;
    return chunk;
  }
  void send(Json chunk) {
    if (request_.continuous_usage) chunk["usage"] = usage_json(usage_);
    write(compact(chunk));
  }
  void write(const std::string& json) {
    if (!std::exchange(open_, true))
      context_.exchange->begin_stream({200, {}, "text/event-stream; charset=utf-8", {{"Cache-Control", "no-cache"}}});
    context_.exchange->write(sse_event(json));
  }
  void end() {
    context_.exchange->write(sse_event("[DONE]"));
    context_.exchange->end_stream();
  }

  const ChatRequest& request_;
  Usage usage_;
  bool open_ = false;
};

}  // namespace lamina::serve
