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
#include <lamina/serve/openai/answer/answer_text.hpp>
#include <lamina/serve/openai/answer/chat_response.hpp>
#include <lamina/serve/openai/request/generation_request.hpp>

namespace lamina::serve {

/// How one request is answered: what its answer is made of, and where it goes.
struct AnswerContext {
  const text::Tokenizer& tokenizer;
  ResponseHead head;
  bool prompt_details = false;
  std::vector<std::shared_ptr<const Batch>> prompts;  ///< each has as many choices as the request asks for
  std::shared_ptr<Exchange> exchange;
  AnswerLimits limits;
};

/// The answer to one request. Its choices are made side by side, and may be added to from several threads. Choice i is
/// of prompt i / request.choices. After fail(), or once all choices are finished, nothing more is sent.
class AnswerWriter {
 public:
  /// request: the same until the answer has ended
  AnswerWriter(AnswerContext context, const GenerationRequest& request)
      : context_(std::move(context)), request_(request), unfinished_(choice_count()) {
    for (const auto& prompt : context_.prompts) usage_.prompt_tokens += static_cast<int>(prompt->ids.size());
    usage_.prompt_details = context_.prompt_details;
  }
  virtual ~AnswerWriter() = default;

  /// `cached` tokens of the prompt need not be read for choice i.
  void started(int i, int cached) {
    const std::lock_guard lock(mutex_);
    if (i % request_.choices == 0) usage_.cached_tokens += cached;
  }
  /// Logprobs of further tokens of choice i's prompt, if the request asks for them: before its first token. Returns
  /// false if the answer has ended. Throws ApiError.
  bool prompt(int i, const std::vector<engine::Sampled>& tokens) {
    const std::lock_guard lock(mutex_);
    if (!over_) take_prompt(i, tokens);
    return !over_;
  }
  /// What a token of choice i made certain. Returns false if the answer has ended. Throws ApiError.
  bool add(int i, Delta delta) {
    const std::lock_guard lock(mutex_);
    if (over_) return false;
    if (request_.max_tokens != 0) ++usage_.completion_tokens;
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
  int choice_count() const { return request_.choices * static_cast<int>(context_.prompts.size()); }
  const std::vector<int>& prompt_ids(int i) const {
    return context_.prompts[static_cast<std::size_t>(i / request_.choices)]->ids;
  }

  virtual void take_prompt(int /*i*/, const std::vector<engine::Sampled>& /*tokens*/) {}
  virtual void take(int i, Delta delta) = 0;
  virtual void take_end(int i, const Completion& done) = 0;
  virtual void end() = 0;
  virtual void send_error(const HttpReply& error) { context_.exchange->reply(error); }

  AnswerContext context_;
  const GenerationRequest& request_;
  Usage usage_;

 private:
  std::mutex mutex_;
  int unfinished_;
  bool over_ = false;
};

/// An answer that is sent as server-sent events. The head is sent with the first event, so that what fails before it is
/// still an HTTP error; what fails later is an event.
class EventWriter : public AnswerWriter {
 public:
  using AnswerWriter::AnswerWriter;

 protected:
  bool is_open() const { return open_; }
  void write(const std::string& json) { write_event(sse_event(json)); }
  void write_event(const std::string& event) {
    if (!std::exchange(open_, true))
      context_.exchange->begin_stream({200, {}, "text/event-stream; charset=utf-8", {{"Cache-Control", "no-cache"}}});
    context_.exchange->write(event);
  }
  void close() {
    context_.exchange->write(sse_event("[DONE]"));
    context_.exchange->end_stream();
  }
  void send_error(const HttpReply& error) override {
    if (!open_) return AnswerWriter::send_error(error);
    write(error.body);
    close();
  }

 private:
  bool open_ = false;
};

}  // namespace lamina::serve
