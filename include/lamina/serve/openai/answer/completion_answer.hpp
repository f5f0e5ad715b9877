#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/serve/openai/answer/answer_text.hpp>
#include <lamina/serve/openai/answer/answer_writer.hpp>
#include <lamina/serve/openai/answer/chunk_batch.hpp>
#include <lamina/serve/openai/answer/prompt_logprobs.hpp>
#include <lamina/serve/openai/request/completion_request.hpp>

namespace lamina::serve {

/// logprobs of one choice of /v1/completions: four lists with an entry for each token, as JSON text that grows.
class CompletionLogprobs {
 public:
  /// top: alternatives that are listed with each token, -1: all that are given. first_offset: characters before the
  /// first token.
  CompletionLogprobs(const text::Tokenizer& tokenizer, const GenerationRequest& request, const AnswerLimits& limits,
                     std::int64_t first_offset = 0)
      : tokenizer_(&tokenizer),
        top_(request.params.sampling.top_logprobs),
        as_ids_(request.return_tokens_as_ids),
        offset_(first_offset),
        offsets_(limits),
        logprobs_(limits),
        tokens_(limits),
        tops_(limits) {}

  /// The first token of a prompt: nothing comes before it.
  void add_unscored(int id) { add(text_of(id), "null", "null"); }
  void add(const engine::Sampled& sampled) {
    Json tops = Json::object();  // of tokens with one text the first
    const std::string text = text_of(sampled.token.id);
    tops.emplace(text, sampled.token.logprob);
    for (std::size_t i = 0; i < sampled.top.size() && (top_ < 0 || i < static_cast<std::size_t>(top_)); ++i)
      tops.emplace(text_of(sampled.top[i].id), sampled.top[i].logprob);
    add(text, compact(sampled.token.logprob), compact(tops));
  }
  std::string json() const {
    return cat(R"({"text_offset":[)", offsets_.view(), R"(],"token_logprobs":[)", logprobs_.view(), R"(],"tokens":[)",
               tokens_.view(), R"(],"top_logprobs":[)", tops_.view(), "]}");
  }
  std::size_t bytes() const {
    return offsets_.view().size() + logprobs_.view().size() + tokens_.view().size() + tops_.view().size();
  }

 private:
  std::string text_of(int id) const {
    const int ids[] = {id};
    return as_ids_ ? cat("token_id:", id) : tokenizer_->decode(ids);
  }
  void add(const std::string& text, const std::string& logprob, const std::string& tops) {
    const char* comma = tokens_.view().empty() ? "" : ",";
    offsets_.append(cat(comma, offset_));
    logprobs_.append(comma + logprob);
    tokens_.append(comma + compact(text));
    tops_.append(comma + tops);
    offset_ += count_characters(text);
  }

  const text::Tokenizer* tokenizer_;
  int top_;
  bool as_ids_;
  std::int64_t offset_;
  AnswerText offsets_, logprobs_, tokens_, tops_;
};

/// What an answer of /v1/completions, or a chunk of one, has before its choices.
inline Json text_completion_head_json(const ResponseHead& head) {
  return {{"id", head.id}, {"object", "text_completion"}, {"created", head.created}, {"model", head.model}};
}

/// All choices in one JSON object.
class WholeCompletion final : public AnswerWriter {
 public:
  /// echoed: what each choice begins with, by prompt; empty without echo
  WholeCompletion(AnswerContext context, const GenerationRequest& request, std::vector<std::string> echoed)
      : AnswerWriter(std::move(context), request), echoed_(std::move(echoed)), text_(context_.limits) {
    for (int i = 0; i < choice_count(); ++i) choices_.push_back(begin(i));
  }

 private:
  struct Part {
    std::string text;
    std::vector<int> ids;
    std::optional<CompletionLogprobs> logprobs;
    AnswerText prompt_logprobs;
    Completion done;
    bool finished = false;
  };
  Part begin(int i) const {
    Part part{.text = {}, .ids = {}, .logprobs = {}, .prompt_logprobs = AnswerText(context_.limits), .done = {}};
    if (!echoed_.empty()) part.text = echoed_[static_cast<std::size_t>(i / request_.choices)];
    if (!request_.params.sampling.logprobs) return part;
    part.logprobs.emplace(context_.tokenizer, request_, context_.limits);
    if (!echoed_.empty()) part.logprobs->add_unscored(prompt_ids(i).front());
    return part;
  }

  void take_prompt(int i, const std::vector<engine::Sampled>& tokens) override {
    Part& part = choices_[static_cast<std::size_t>(i)];
    if (part.logprobs && !echoed_.empty()) add_logprobs(part, tokens);
    if (request_.prompt_logprobs) add_prompt_logprobs(part.prompt_logprobs, context_.tokenizer, tokens);
  }
  void take(int i, Delta delta) override {
    if (request_.max_tokens == 0) return;
    Part& part = choices_[static_cast<std::size_t>(i)];
    part.text += delta.text;
    part.ids.insert(part.ids.end(), delta.ids.begin(), delta.ids.end());
    if (part.logprobs) add_logprobs(part, delta.tokens);
  }
  void add_logprobs(Part& part, const std::vector<engine::Sampled>& tokens) {
    for (const auto& token : tokens) {
      const std::size_t before = part.logprobs->bytes();
      part.logprobs->add(token);
      text_.expect_room(unwritten_ += part.logprobs->bytes() - before);
    }
  }
  /// Writes the choices that are finished, in their order.
  void take_end(int i, const Completion& done) override {
    Part& part = choices_[static_cast<std::size_t>(i)];
    part.done = done;
    part.finished = true;
    for (; written_ < choices_.size() && choices_[written_].finished; ++written_) {
      write(static_cast<int>(written_), choices_[written_]);
      if (const auto& logprobs = choices_[written_].logprobs) unwritten_ -= logprobs->bytes();
      choices_[written_] = {
          .text = {}, .ids = {}, .logprobs = {}, .prompt_logprobs = AnswerText(context_.limits), .done = {}};
    }
  }
  void write(int i, const Part& part) {
    const bool ids = request_.return_token_ids;
    text_.append(i == 0 ? open_end(text_completion_head_json(context_.head)) + R"(,"choices":[)" : ",");
    text_.append(open_end({{"index", i},
                           {"text", part.text},
                           {"finish_reason", engine::name_of(part.done.finish)},
                           {"stop_reason", stop_reason_json(part.done)},
                           {"token_ids", ids ? Json(part.ids) : Json()},
                           {"prompt_token_ids", ids ? Json(prompt_ids(i)) : Json()}}));
    text_.append(R"(,"logprobs":)");
    text_.append(part.logprobs ? part.logprobs->json() : "null");
    text_.append(R"(,"prompt_logprobs":)");
    text_.append(request_.prompt_logprobs ? prompt_logprobs_list(part.prompt_logprobs) : "null");
    text_.append("}");
  }
  void end() override {
    text_.append("]," + open_start({{"service_tier", nullptr},
                                    {"system_fingerprint", nullptr},
                                    {"usage", usage_json(usage_)},
                                    {"kv_transfer_params", nullptr}}));
    context_.exchange->reply({200, text_.take(), "application/json", {}});
  }

  std::vector<std::string> echoed_;
  AnswerText text_;
  std::vector<Part> choices_;
  std::size_t written_ = 0;      ///< choices that are in text_
  std::uint64_t unwritten_ = 0;  ///< bytes of logprobs that are not
};

/// Server-sent events; chunks of several choices come as their tokens do. The last chunk of a choice has its last text.
class StreamedCompletion final : public EventWriter {
 public:
  /// echoed: as for WholeCompletion
  StreamedCompletion(AnswerContext context, const GenerationRequest& request, std::vector<std::string> echoed)
      : EventWriter(std::move(context), request), echoed_(std::move(echoed)) {
    for (int i = 0; i < choice_count(); ++i)
      choices_.push_back({.batch = ChunkBatch(request.stream_interval, request.return_token_ids)});
  }

 private:
  struct Part {
    ChunkBatch batch;
    std::vector<engine::Sampled> prompt = {};  ///< logprobs of the prompt, for the first chunk
    std::int64_t characters = 0;               ///< that were sent
    bool started = false;
  };

  void take_prompt(int i, const std::vector<engine::Sampled>& tokens) override {
    auto& prompt = choices_[static_cast<std::size_t>(i)].prompt;
    if (!echoed_.empty()) prompt.insert(prompt.end(), tokens.begin(), tokens.end());
  }
  void take(int i, Delta delta) override {
    if (request_.max_tokens == 0) return;
    ChunkBatch& batch = choices_[static_cast<std::size_t>(i)].batch;
    if (delta.last) return batch.hold(std::move(delta));
    if (auto chunk = batch.add(std::move(delta))) send(i, std::move(*chunk), nullptr);
  }
  void take_end(int i, const Completion& done) override {
    send(i, choices_[static_cast<std::size_t>(i)].batch.take().value_or(Delta{}), &done);
  }

  void send(int i, Delta delta, const Completion* done) {
    Part& part = choices_[static_cast<std::size_t>(i)];
    const bool first = !std::exchange(part.started, true), ids = request_.return_token_ids;
    const bool echo = first && !echoed_.empty();
    if (echo) delta.text.insert(0, echoed_[static_cast<std::size_t>(i / request_.choices)]);
    Json choice = {{"index", i},
                   {"text", delta.text},
                   {"finish_reason", done ? Json(engine::name_of(done->finish)) : Json()},
                   {"stop_reason", done ? stop_reason_json(*done) : Json()}};
    if (ids && first) choice["prompt_token_ids"] = prompt_ids(i);
    if (ids) choice["token_ids"] = delta.ids;
    Json chunk = text_completion_head_json(context_.head);
    if (request_.continuous_usage) chunk["usage"] = usage_json(usage_);
    write(cat(open_end(chunk), R"(,"choices":[)", open_end(choice), R"(,"logprobs":)", logprobs(i, part, delta, echo),
              "}]}"));
    part.characters += count_characters(delta.text);
  }
  std::string logprobs(int i, Part& part, const Delta& delta, bool echo) const {
    if (!request_.params.sampling.logprobs) return "null";
    CompletionLogprobs out(context_.tokenizer, request_, context_.limits, part.characters);
    if (echo) out.add_unscored(prompt_ids(i).front());
    for (const auto& token : std::exchange(part.prompt, {})) out.add(token);
    for (const auto& token : delta.tokens) out.add(token);
    return out.json();
  }
  void end() override {
    if (request_.include_usage) {
      Json last = text_completion_head_json(context_.head);
      last["choices"] = Json::array();
      last["usage"] = usage_json(usage_);
      write(compact(last));
    }
    close();
  }

  std::vector<std::string> echoed_;
  std::vector<Part> choices_;
};

}  // namespace lamina::serve
