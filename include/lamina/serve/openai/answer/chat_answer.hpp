#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/openai/answer/answer_text.hpp>
#include <lamina/serve/openai/answer/answer_writer.hpp>
#include <lamina/serve/openai/answer/chat_response.hpp>
#include <lamina/serve/openai/answer/chunk_batch.hpp>
#include <lamina/serve/openai/answer/prompt_logprobs.hpp>
#include <lamina/serve/openai/request/chat/chat_request.hpp>

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
    text_.append(open_end(choice_json(context_.head, part.choice, request_.message, request_.return_token_ids)));
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
      choices_.push_back({ChunkBatch(request.stream_interval, request.return_token_ids), PlainChunk(context_.head, i),
                          MessageParser(request.message)});
  }

 private:
  struct Part {
    ChunkBatch batch;
    PlainChunk plain;
    MessageParser parser;
    bool started = false;
  };

  void take(int i, Delta delta) override {
    if (const auto chunk = choices_[static_cast<std::size_t>(i)].batch.add(std::move(delta))) send_delta(i, *chunk);
  }
  void take_end(int i, const Completion& done) override {
    Part& part = choices_[static_cast<std::size_t>(i)];
    if (const auto rest = part.batch.take()) send_delta(i, *rest);
    start(i);
    send_message(i, part.parser.finish(), {}, {});
    Json chunk =
        chunk_json(context_.head, i, Json::object(), nullptr, finish_name(request_.message, part.parser.calls(), done));
    chunk["choices"][0]["stop_reason"] = stop_reason_json(done);
    send(std::move(chunk));
  }
  void start(int i) {
    if (std::exchange(choices_[static_cast<std::size_t>(i)].started, true)) return;
    Json chunk = chunk_json(context_.head, i, {{"role", context_.head.role}, {"content", ""}}, nullptr);
    if (request_.return_token_ids && !is_open()) chunk["prompt_token_ids"] = prompt_ids(i);
    send(std::move(chunk));
    if (!request_.message.echo.empty())
      send(chunk_json(context_.head, i, {{"content", request_.message.echo}}, nullptr));
  }
  void send_delta(int i, const Delta& delta) {
    start(i);
    Part& part = choices_[static_cast<std::size_t>(i)];
    if (request_.message.plain() && delta.tokens.empty() && !request_.return_token_ids && !request_.continuous_usage)
      return write(part.plain.text(delta.text));
    send_message(i, part.parser.push(delta.text), delta.tokens, delta.ids);
  }
  /// A chunk for each part of a message, the first with the tokens that the request wants to see.
  void send_message(int i, const MessagePiece& piece, const std::vector<engine::Sampled>& tokens,
                    const std::vector<int>& ids) {
    std::vector<Json> deltas;
    if (!piece.reasoning.empty())
      deltas.push_back({{"reasoning", piece.reasoning}, {"reasoning_content", piece.reasoning}});
    if (!piece.content.empty()) deltas.push_back({{"content", piece.content}});
    for (const auto& part : piece.calls) deltas.push_back({{"tool_calls", Json::array({call_delta(part)})}});
    const bool shows_ids = request_.return_token_ids && !ids.empty();
    if (deltas.empty() && (!tokens.empty() || shows_ids)) deltas.push_back({{"content", ""}});
    for (std::size_t k = 0; k < deltas.size(); ++k) {
      Json logprobs;
      if (k == 0 && !tokens.empty())
        logprobs = logprobs_json(context_.tokenizer, tokens, request_.return_tokens_as_ids);
      Json chunk = chunk_json(context_.head, i, std::move(deltas[k]), std::move(logprobs));
      if (k == 0 && shows_ids) chunk["choices"][0]["token_ids"] = ids;
      send(std::move(chunk));
    }
  }
  static Json call_delta(const ToolCallPart& part) {
    Json call = {{"index", part.call}};
    if (part.name.empty())
      call["function"] = {{"arguments", part.arguments}};
    else
      call.update(tool_call_json(part));
    return call;
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
