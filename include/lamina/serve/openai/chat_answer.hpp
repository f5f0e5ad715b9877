#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/batch.hpp>
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
  std::shared_ptr<const Batch> prompt;
  std::shared_ptr<Exchange> exchange;
  AnswerLimits limits;
};

/// The answer to one chat request. Its choices are made side by side, and may be added to from several threads. After
/// fail(), or once all choices are finished, nothing more is sent.
class ChatAnswer {
 public:
  ChatAnswer(AnswerContext context, const ChatRequest& request)
      : context_(std::move(context)), request_(request), unfinished_(request.choices) {
    usage_.prompt_tokens = static_cast<int>(context_.prompt->ids.size());
    usage_.prompt_details = context_.prompt_details;
  }
  virtual ~ChatAnswer() = default;

  /// `cached` tokens of the prompt need not be read for choice i.
  void started(int i, int cached) {
    const std::lock_guard lock(mutex_);
    if (i == 0) usage_.cached_tokens = cached;
  }
  /// What a token of choice i made certain. Returns false if the answer has ended. Throws ApiError.
  bool add(int i, Delta delta) {
    const std::lock_guard lock(mutex_);
    if (over_) return false;
    ++usage_.completion_tokens;
    take(i, std::move(delta));
    return true;
  }
  /// Choice i is complete. Throws ApiError.
  void finish(int i, const Completion& done) {
    const std::lock_guard lock(mutex_);
    if (over_) return;
    take_end(i, done);
    if (--unfinished_ > 0) return;
    over_ = true;
    end();
  }
  /// Ends the answer with an error: an HTTP error if nothing was sent yet.
  void fail(const HttpReply& error) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(over_, true)) send_error(error);
  }

 protected:
  virtual void take(int i, Delta delta) = 0;
  virtual void take_end(int i, const Completion& done) = 0;
  virtual void end() = 0;
  virtual void send_error(const HttpReply& error) { context_.exchange->reply(error); }

  AnswerContext context_;
  const ChatRequest& request_;
  Usage usage_;

 private:
  std::mutex mutex_;
  int unfinished_;
  bool over_ = false;
};

/// All choices in one JSON object. What a choice is made of becomes text as it comes: the logprobs of many choices are
/// large.
class WholeAnswer final : public ChatAnswer {
 public:
  WholeAnswer(AnswerContext context, const ChatRequest& request)
      : ChatAnswer(std::move(context), request), text_(context_.limits) {
    for (int i = 0; i < request.choices; ++i) choices_.emplace_back(i, context_.limits);
  }

 private:
  struct Part {
    Part(int i, const AnswerLimits& limits) : choice{.index = i, .text = {}, .ids = {}, .done = {}}, logprobs(limits) {}
    Choice choice;
    AnswerText logprobs;
    bool finished = false;
  };

  void take(int i, Delta delta) override {
    Part& part = choices_[static_cast<std::size_t>(i)];
    part.choice.text += delta.text;
    part.choice.ids.insert(part.choice.ids.end(), delta.ids.begin(), delta.ids.end());
    for (const auto& token : delta.tokens) {
      std::string piece = part.logprobs.view().empty() ? "" : ",";
      piece += compact(logprob_json(context_.tokenizer, token, request_.return_tokens_as_ids));
      text_.expect_room(unwritten_ += piece.size());
      part.logprobs.append(piece);
    }
  }
  /// Writes the choices that are finished, in their order.
  void take_end(int i, const Completion& done) override {
    Part& part = choices_[static_cast<std::size_t>(i)];
    part.choice.done = done;
    part.finished = true;
    for (; written_ < choices_.size() && choices_[written_].finished; ++written_) {
      write(choices_[written_]);
      unwritten_ -= choices_[written_].logprobs.view().size();
      choices_[written_] = Part(static_cast<int>(written_), context_.limits);
    }
  }
  void write(const Part& part) {
    text_.append(text_.view().empty() ? open_end(completion_head_json(context_.head)) + R"(,"choices":[)" : ",");
    text_.append(open_end(choice_json(context_.head, part.choice, request_.return_token_ids)));
    const bool wanted = request_.params.sampling.logprobs;
    text_.append(wanted ? R"(,"logprobs":{"content":[)" : R"(,"logprobs":null)");
    text_.append(part.logprobs.view());
    text_.append(wanted ? "]}}" : "}");
  }
  void end() override {
    const auto* prompt_ids = request_.return_token_ids ? &context_.prompt->ids : nullptr;
    text_.append("]," + open_start(completion_tail_json(usage_, prompt_ids)));
    context_.exchange->reply({200, text_.take(), "application/json", {}});
  }

  AnswerText text_;
  std::vector<Part> choices_;
  std::size_t written_ = 0;      ///< choices that are in text_
  std::uint64_t unwritten_ = 0;  ///< bytes of logprobs that are not
};

/// Server-sent events; chunks of several choices come as their tokens do. The head is sent with the first token, so
/// that what fails before it is still an HTTP error; what fails later is an event.
class StreamedAnswer final : public ChatAnswer {
 public:
  StreamedAnswer(AnswerContext context, const ChatRequest& request) : ChatAnswer(std::move(context), request) {
    for (int i = 0; i < request.choices; ++i)
      choices_.push_back({ChunkBatch(request.stream_interval, request.return_token_ids), PlainChunk(context_.head, i)});
  }

 private:
  struct Part {
    ChunkBatch batch;
    PlainChunk plain;
    bool started = false;
  };

  void take(int i, Delta delta) override {
    if (const auto chunk = choices_[static_cast<std::size_t>(i)].batch.add(std::move(delta))) send_delta(i, *chunk);
  }
  void take_end(int i, const Completion& done) override {
    if (const auto rest = choices_[static_cast<std::size_t>(i)].batch.take()) send_delta(i, *rest);
    start(i);
    send(chunk_json(context_.head, i, Json::object(), nullptr, &done));
  }
  void start(int i) {
    if (std::exchange(choices_[static_cast<std::size_t>(i)].started, true)) return;
    Json chunk = chunk_json(context_.head, i, {{"role", context_.head.role}, {"content", ""}}, nullptr, nullptr);
    if (request_.return_token_ids && !open_) chunk["prompt_token_ids"] = context_.prompt->ids;
    send(std::move(chunk));
  }
  void send_delta(int i, const Delta& delta) {
    start(i);
    if (delta.tokens.empty() && !request_.return_token_ids && !request_.continuous_usage)
      return write(choices_[static_cast<std::size_t>(i)].plain.text(delta.text));
    Json logprobs =
        delta.tokens.empty() ? Json() : logprobs_json(context_.tokenizer, delta.tokens, request_.return_tokens_as_ids);
    Json chunk = chunk_json(context_.head, i, {{"content", delta.text}}, std::move(logprobs), nullptr);
    if (request_.return_token_ids) chunk["choices"][0]["token_ids"] = delta.ids;
    send(std::move(chunk));
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
  void end() override {
    if (request_.include_usage) {
      Json last = chunk_json(context_.head);
      last["usage"] = usage_json(usage_);
      write(compact(last));
    }
    close();
  }
  void send_error(const HttpReply& error) override {
    if (!open_) return ChatAnswer::send_error(error);
    write(error.body);
    close();
  }
  void close() {
    context_.exchange->write(sse_event("[DONE]"));
    context_.exchange->end_stream();
  }

  std::vector<Part> choices_;
  bool open_ = false;
};

}  // namespace lamina::serve
