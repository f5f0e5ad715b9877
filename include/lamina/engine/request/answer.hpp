#pragma once
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <lamina/engine/request/listener.hpp>
#include <lamina/engine/request/stop.hpp>
#include <lamina/engine/step/sampler.hpp>
#include <lamina/text/tokenizer/stream_decoder.hpp>

/// From the tokens of one request to its text.
namespace lamina::engine {

/// How one completion is made and when it ends.
struct GenerationParams {
  SamplingParams sampling;  ///< `ends` is filled in from the two lists below
  std::vector<std::string> stop;
  std::vector<int> stop_token_ids, eos;
  bool include_stop_str_in_output = false, ignore_eos = false, skip_special_tokens = true;
  int max_tokens = 16;  ///< of output, at least 1; the model's context is the other limit

  /// The sampling parameters with the ids that end the answer.
  SamplingParams with_ends() const {
    SamplingParams out = sampling;
    out.ends = stop_token_ids;
    if (!ignore_eos) out.ends.insert(out.ends.end(), eos.begin(), eos.end());
    return out;
  }
};

enum class FinishReason { stop, length, abort };

/// The word that the OpenAI API has for it.
constexpr const char* name_of(FinishReason reason) {
  return reason == FinishReason::stop ? "stop" : reason == FinishReason::length ? "length" : "abort";
}

/// What became certain with one token: text, perhaps empty, the token's id, and its logprobs if they were asked for.
struct Delta {
  std::string text;
  std::vector<Sampled> tokens;
  std::vector<int> ids;
  int completion_tokens = 0;  ///< so far, this one included
  bool last = false;          ///< finished() follows
};

struct Completion {
  FinishReason finish = FinishReason::abort;
  std::variant<std::monostate, std::string, int> stop_reason;  ///< nothing for end of sequence, else what matched
  int prompt_tokens = 0, cached_tokens = 0;
  int completion_tokens = 0;           ///< every generated id counts, the ending one too
  double prefill_s = 0, decode_s = 0;  ///< from asking to the first token; from there to the end
};

/// Where the text of one completion goes: started(), a piece for each token, then one of finished() and failed(). Calls
/// come as those of RequestListener.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  /// As RequestListener::started.
  virtual void started(int /*cached*/) {}
  /// As RequestListener::prompt.
  virtual void prompt(std::vector<Sampled> /*tokens*/) {}
  /// Returns false if no more is wanted: then nothing follows.
  virtual bool piece(Delta delta) = 0;
  virtual void finished(const Completion& done) = 0;
  virtual void failed(const std::string& message) = 0;
};

/// The text of one request: whole UTF-8 characters, never a part of a stop string. Asks for no more tokens once a stop
/// string is complete.
class AnswerListener final : public RequestListener {
 public:
  AnswerListener(const text::Tokenizer& tokenizer, const GenerationParams& params, int prompt_tokens,
                 std::shared_ptr<AnswerSink> sink)
      : params_(params),
        sink_(std::move(sink)),
        decoder_(tokenizer, params.skip_special_tokens),
        matcher_(params.stop, params.include_stop_str_in_output) {
    done_.prompt_tokens = prompt_tokens;
  }

  void started(int cached) override {
    done_.cached_tokens = cached;
    sink_->started(cached);
  }
  void prompt(std::vector<Sampled> tokens) override {
    if (!finished_) sink_->prompt(std::move(tokens));
  }
  bool token(const Chosen& chosen, Last last) override {
    if (finished_) return false;
    if (++done_.completion_tokens == 1) first_ = Clock::now();
    Delta delta;
    delta.ids.push_back(chosen.token);
    if (params_.sampling.logprobs) delta.tokens.push_back({{chosen.token, chosen.logprob}, chosen.top});
    if (last != Last::end_token || params_.include_stop_str_in_output)
      delta.text = matcher_.push(decoder_.push(chosen.token));
    if (last != Last::no) {
      delta.text += matcher_.push(decoder_.finish());
      if (!matcher_.matched()) delta.text += matcher_.finish();
    }
    delta.completion_tokens = done_.completion_tokens;
    finished_ = last != Last::no || matcher_.matched();
    delta.last = finished_;
    const bool wanted = sink_->piece(std::move(delta));
    if (!finished_ && wanted) return true;
    if (wanted) finish(chosen.token, last);
    finished_ = true;
    return false;
  }
  void cancelled() override {
    if (!std::exchange(finished_, true)) sink_->finished(done_);
  }
  void failed(const std::string& message) override {
    if (!std::exchange(finished_, true)) sink_->failed(message);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void finish(int last_id, Last last) {
    const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
    const auto& eos = params_.eos;
    const bool is_eos = !params_.ignore_eos && std::find(eos.begin(), eos.end(), last_id) != eos.end();
    done_.finish = last == Last::length ? FinishReason::length : FinishReason::stop;
    if (last == Last::end_token && !is_eos) done_.stop_reason = last_id;
    if (matcher_.matched()) {
      done_.finish = FinishReason::stop;
      done_.stop_reason = *matcher_.matched();
    }
    done_.prefill_s = seconds(first_ - asked_);
    done_.decode_s = seconds(Clock::now() - first_);
    sink_->finished(done_);
  }

  GenerationParams params_;
  std::shared_ptr<AnswerSink> sink_;
  text::StreamDecoder decoder_;
  StopMatcher matcher_;
  Completion done_;
  Clock::time_point asked_ = Clock::now(), first_ = {};
  bool finished_ = false;
};

}  // namespace lamina::engine
