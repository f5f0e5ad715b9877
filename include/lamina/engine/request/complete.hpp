#pragma once
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include <lamina/engine/engine.hpp>
#include <lamina/engine/request/answer.hpp>

/// One request for a program that has nothing else to do.
namespace lamina::engine {

/// Answers a prompt and waits for the end. `deliver` is called on another thread with the text as it becomes certain;
/// if it returns false the completion ends there, with FinishReason::abort.
/// errors  lamina::Error if the request cannot be run or fails.
inline Completion complete(Engine& engine, const text::Tokenizer& tokenizer, const GenerationParams& params,
                           Submission submission, std::function<bool(const Delta&)> deliver) {
  struct Sink final : AnswerSink {
    std::function<bool(const Delta&)> deliver;
    std::promise<Completion> done;

    bool piece(Delta delta) override {
      if (deliver(delta)) return true;
      done.set_value({.stop_reason = {}, .completion_tokens = delta.completion_tokens});
      return false;
    }
    void finished(const Completion& completion) override { done.set_value(completion); }
    void failed(const std::string& message) override { done.set_exception(std::make_exception_ptr(Error(message))); }
  };
  const auto sink = std::make_shared<Sink>();
  sink->deliver = std::move(deliver);
  submission.sampling = params.with_ends();
  submission.max_tokens = params.max_tokens;
  submission.listener =
      std::make_shared<AnswerListener>(tokenizer, params, static_cast<int>(submission.prompt->ids.size()), sink);
  engine.submit(std::move(submission));
  return sink->done.get_future().get();
}

}  // namespace lamina::engine
