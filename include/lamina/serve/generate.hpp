#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/cancelled.hpp>
#include <lamina/engine/answer.hpp>
#include <lamina/model/session.hpp>
#include <lamina/serve/token_source.hpp>
#include <lamina/text/stream_decoder.hpp>

namespace lamina::serve {

using engine::Completion;
using engine::Delta;
using engine::FinishReason;
using engine::GenerationParams;

namespace detail {

/// One completion on its way. `deliver` is called with what is certain after each token.
class Generation {
 public:
  Generation(GenerateSession& session, const text::Tokenizer& tokenizer, const Batch& prompt, GenerationParams params,
             const std::function<void(Delta)>& deliver)
      : session_(session),
        prompt_(prompt),
        params_(std::move(params)),
        deliver_(deliver),
        tokens_(session, params_.with_ends(), prompt),
        decoder_(tokenizer, params_.skip_special_tokens),
        matcher_(params_.stop, params_.include_stop_str_in_output) {}

  Completion run(const std::stop_token& cancelled) {
    using clock = std::chrono::steady_clock;
    const auto seconds = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
    done_.prompt_tokens = static_cast<int>(prompt_.ids.size());
    done_.finish = FinishReason::abort;
    if (cancelled.stop_requested()) return done_;
    const auto start = clock::now();
    engine::Sampled sampled;
    try {
      sampled = tokens_.first(cancelled);
    } catch (const Cancelled&) {
      return done_;
    }
    const auto prefilled = clock::now();
    while (!cancelled.stop_requested()) {
      ++done_.completion_tokens;
      if (take(sampled)) break;
      sampled = tokens_.following(sampled.token.id);
    }
    done_.prefill_s = seconds(prefilled - start);
    done_.decode_s = seconds(clock::now() - prefilled);
    return done_;
  }

 private:
  static bool contains(const std::vector<int>& ids, int id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  }

  /// Turns a token into text and tells whether it was the last one.
  bool take(const engine::Sampled& sampled) {
    const int id = sampled.token.id;
    const bool is_eos = !params_.ignore_eos && contains(params_.eos, id);
    const bool is_end = is_eos || contains(params_.stop_token_ids, id);
    Delta delta;
    delta.ids.push_back(id);
    if (params_.sampling.logprobs) delta.tokens.push_back(sampled);
    if (!is_end || params_.include_stop_str_in_output) delta.text = matcher_.push(decoder_.push(id));
    if (is_end) {
      finish(FinishReason::stop);
      if (!is_eos) done_.stop_reason = id;
    }
    const bool full = done_.completion_tokens >= params_.max_tokens ||
                      done_.prompt_tokens + done_.completion_tokens >= session_.max_model_len();
    if (full && !is_end) finish(FinishReason::length);
    if (ended_) {
      delta.text += matcher_.push(decoder_.finish());
      if (!matcher_.matched()) delta.text += matcher_.finish();
    }
    if (matcher_.matched()) {
      finish(FinishReason::stop);
      done_.stop_reason = *matcher_.matched();
    }
    delta.completion_tokens = done_.completion_tokens;
    deliver_(std::move(delta));
    return ended_;
  }
  void finish(FinishReason reason) {
    done_.finish = reason;
    ended_ = true;
  }

  GenerateSession& session_;
  const Batch& prompt_;
  GenerationParams params_;
  const std::function<void(Delta)>& deliver_;
  TokenSource tokens_;
  text::StreamDecoder decoder_;
  engine::StopMatcher matcher_;
  Completion done_;
  bool ended_ = false;
};

}  // namespace detail

/// Answers one prompt: reads it, then draws tokens until an end, a stop string, a limit, or `cancelled` (looked at
/// before each token, and on a CPU between the layers that read the prompt). `deliver` gets text in whole UTF-8
/// characters, never a part of a stop string. Throws lamina::Error if the model's numbers are not finite.
inline Completion generate(GenerateSession& session, const text::Tokenizer& tokenizer, const Batch& prompt,
                           GenerationParams params, const std::function<void(Delta)>& deliver,
                           const std::stop_token& cancelled = {}) {
  return detail::Generation(session, tokenizer, prompt, std::move(params), deliver).run(cancelled);
}

}  // namespace lamina::serve
