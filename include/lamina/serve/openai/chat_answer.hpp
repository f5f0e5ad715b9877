#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/openai/answer_text.hpp>
#include <lamina/serve/openai/answer_writer.hpp>
#include <lamina/serve/openai/chat_request.hpp>
#include <lamina/serve/openai/chat_response.hpp>
#include <lamina/serve/openai/chunk_batch.hpp>
#include <lamina/serve/openai/prompt_logprobs.hpp>

namespace lamina::serve {

/// All choices in one JSON object. What a choice is made of becomes text as it comes: the logprobs of many choices are
/// large.
class WholeAnswer final : public AnswerWriter {
 public:
  WholeAnswer(AnswerContext context, const GenerationRequest& request)
      : AnswerWriter(std::move(context), request), text_(context_.limits), prompt_logprobs_(context_.limits) {
    for (int i = 0; i < choice_count(); ++i) choices_.emplace_back(i, context_.limits);
  }

 private:
  struct Part {
    Part(int i, const AnswerLimits& limits) : choice{.index = i, .text = {}, .ids = {}, .done = {}}, logprobs(limits) {}
    Choice choice;
    AnswerText logprobs;
    bool finished = false;
  };

  void take_prompt(int i, const std::vector<engine::Sampled>& tokens) override {
    if (i == 0) add_prompt_logprobs(prompt_logprobs_, context_.tokenizer, tokens);
  }
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
    const auto* ids = request_.return_token_ids ? &prompt_ids(0) : nullptr;
    text_.append(R"(],"prompt_logprobs":)");
    text_.append(request_.prompt_logprobs ? prompt_logprobs_list(prompt_logprobs_) : "null");
    text_.append("," + open_start(completion_tail_json(usage_, ids)));
    context_.exchange->reply({200, text_.take(), "application/json", {}});
  }

  AnswerText text_, prompt_logprobs_;
  std::vector<Part> choices_;
  std::size_t written_ = 0;      ///< choices that are in text_
  std::uint64_t unwritten_ = 0;  ///< bytes of logprobs that are not
};

/// Server-sent events; chunks of several choices come as their tokens do.
class StreamedAnswer final : public EventWriter {
 public:
  StreamedAnswer(AnswerContext context, const GenerationRequest& request) : EventWriter(std::move(context), request) {
    for (int i = 0; i < choice_count(); ++i)
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
    if (request_.return_token_ids && !is_open()) chunk["prompt_token_ids"] = prompt_ids(i);
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
  void end() override {
    if (request_.include_usage) {
      Json last = chunk_json(context_.head);
      last["usage"] = usage_json(usage_);
      write(compact(last));
    }
    close();
  }

  std::vector<Part> choices_;
};

}  // namespace lamina::serve
