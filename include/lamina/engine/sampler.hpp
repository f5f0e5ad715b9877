#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/philox.hpp>
#include <lamina/engine/logprobs.hpp>
#include <lamina/engine/token_mask.hpp>
#include <lamina/kernel/sample.hpp>

namespace lamina::engine {

/// How the next token is chosen. The defaults leave the model's distribution as it is.
struct SamplingParams {
  double temperature = 1;         ///< below 1e-5: greedy, and top_k, top_p, min_p mean nothing
  double top_p = 1;               ///< smallest set of tokens with this mass, (0, 1]
  int top_k = 0;                  ///< 0 or -1: off
  double min_p = 0;               ///< keep tokens with p >= min_p * max p
  double repetition_penalty = 1;  ///< on ids of prompt and output: positive logits divided, negative multiplied
  double presence_penalty = 0;    ///< subtracted once from ids of the output
  double frequency_penalty = 0;   ///< subtracted once an occurrence in the output
  std::vector<std::pair<int, double>> logit_bias = {};
  std::vector<int> allowed_token_ids = {};  ///< empty: all
  std::shared_ptr<TokenMask> mask = {};     ///< of this answer alone; null: all tokens may come
  int min_tokens = 0;          ///< ids of `ends` are impossible before so many tokens, unless only they may come
  std::vector<int> ends = {};  ///< end-of-sequence and stop ids
  bool logprobs = false;
  int top_logprobs = 0;  ///< alternatives listed with each token, of the raw distribution; -1: the whole vocabulary
  std::optional<int> prompt_logprobs = {};  ///< the same for the prompt's tokens but the first; nothing: no logprobs
  std::uint64_t seed = 0;                   ///< same seed, stream, prompt and build: same tokens
  std::uint64_t stream = 0;                 ///< tells apart the choices of one request, or requests without a seed

  bool greedy() const { return temperature < 1e-5; }
  /// What a session needs to choose tokens itself; nothing if the choice depends on more than the newest logits, or
  /// something is asked for besides the token.
  std::optional<kernel::SamplingRule> rule() const {
    const bool adjusts = repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0 ||
                         !logit_bias.empty() || !allowed_token_ids.empty() || mask || min_tokens > 0;
    if (adjusts || logprobs) return {};
    return kernel::SamplingRule{.temperature = greedy() ? 0 : temperature,
                                .top_p = top_p,
                                .min_p = min_p,
                                .top_k = top_k,
                                .seed = seed,
                                .stream = stream};
  }
};

/// Draws the tokens of one completion. Works in fp32 logits and fp64 probabilities, in the order: masks, bias,
/// penalties, temperature, min_p, top_k, top_p, draw. Ties go to the lowest id. What params.rule() covers, sessions may
/// draw themselves (kernel/sample.hpp): the same token, unless a draw falls within 1e-6 of the mass from a
/// neighbour.
class Sampler {
 public:
  /// prompt: ids that the repetition penalty counts; ids outside [0, vocab) are an Error.
  Sampler(SamplingParams params, std::span<const int> prompt, int vocab)
      : params_(std::move(params)), seen_(static_cast<std::size_t>(vocab), false) {
    for (int id : prompt) mark(id);
    for (const auto& [id, bias] : params_.logit_bias) check_id(id, "logit_bias");
    for (int id : params_.allowed_token_ids) check_id(id, "allowed_token_ids");
  }

  /// The next token from the model's logits (V). Error if one is not finite: a wrong number must end the request,
  /// never become a token.
  Sampled next(std::span<const float> logits) {
    if (logits.size() != seen_.size())
      fail("sampler: ", logits.size(), " logits, wanted one for each of ", seen_.size(), " tokens");
    for (std::size_t i = 0; i < logits.size(); ++i)
      if (!std::isfinite(logits[i]))
        fail("sampler: the logit of token ", i, " at output position ", position_, " is ", logits[i],
             ", not a finite number: the model's activations overflowed; try --dtype bfloat16 or float32");
    adjust(logits);
    Sampled out;
    out.token.id = params_.greedy() ? argmax() : draw();
    if (params_.logprobs) out = logprobs_of(logits, out.token.id, params_.top_logprobs);
    mark(out.token.id);
    if (params_.mask) params_.mask->drawn(out.token.id);
    ++counts_[out.token.id];
    ++position_;
    return out;
  }

  const SamplingParams& params() const { return params_; }

 private:
  struct Candidate {
    double p;
    int id;
    /// Heaps keep the largest first: more probable, then lower id.
    bool operator<(const Candidate& o) const { return p != o.p ? p < o.p : id > o.id; }
  };
  static constexpr float masked = -std::numeric_limits<float>::infinity();

  void check_id(int id, const char* what) const {
    if (id < 0 || static_cast<std::size_t>(id) >= seen_.size())
      fail("sampler: token id ", id, " of ", what, " is outside the vocabulary of ", seen_.size());
  }
  void mark(int id) {
    check_id(id, "the prompt");
    seen_[static_cast<std::size_t>(id)] = true;
  }
  float& at(int id) { return work_[static_cast<std::size_t>(id)]; }

  /// The nearest finite number: penalties near 0 make logits overflow, and infinite ones have no differences.
  static float finite(double x) {
    constexpr double most = std::numeric_limits<float>::max();
    return static_cast<float>(std::clamp(x, -most, most));
  }

  void adjust(std::span<const float> logits) {
    work_.assign(logits.begin(), logits.end());
    if (!params_.allowed_token_ids.empty()) {
      work_.assign(logits.size(), masked);
      for (int id : params_.allowed_token_ids) at(id) = logits[static_cast<std::size_t>(id)];
    }
    if (params_.mask) apply_mask();
    if (position_ < params_.min_tokens) forbid_ends();
    for (const auto& [id, bias] : params_.logit_bias) at(id) += static_cast<float>(bias);
    if (params_.repetition_penalty != 1)
      for (std::size_t i = 0; i < work_.size(); ++i)
        if (seen_[i] && work_[i] != masked)
          work_[i] =
              finite(work_[i] > 0 ? work_[i] / params_.repetition_penalty : work_[i] * params_.repetition_penalty);
    for (const auto& [id, count] : counts_)
      at(id) -= static_cast<float>(params_.frequency_penalty * count + params_.presence_penalty);
  }

  void apply_mask() {
    bits_.resize((work_.size() + 63) / 64);
    params_.mask->fill(bits_);
    for (std::size_t i = 0; i < work_.size(); ++i)
      if (!(bits_[i / 64] >> i % 64 & 1)) work_[i] = masked;
  }
  void forbid_ends() {
    const auto is_end = [&](std::size_t id) {
      return std::find(params_.ends.begin(), params_.ends.end(), static_cast<int>(id)) != params_.ends.end();
    };
    if (params_.mask) {  // an answer that is complete cannot go on
      std::size_t id = 0;
      while (id < work_.size() && (work_[id] == masked || is_end(id))) ++id;
      if (id == work_.size()) return;
    }
    for (int id : params_.ends)
      if (id >= 0 && static_cast<std::size_t>(id) < work_.size()) at(id) = masked;
  }

  int argmax() const {
    const auto best = std::max_element(work_.begin(), work_.end());
    if (!(*best > masked))
      fail(
          "sampler: every token is excluded by allowed_token_ids, min_tokens, logit_bias or the structure of the "
          "answer");
    return static_cast<int>(best - work_.begin());
  }

  int draw() {
    const double max = at(argmax());
    candidates_.clear();
    for (std::size_t i = 0; i < work_.size(); ++i) {
      const double p = std::exp((work_[i] - max) / params_.temperature);  // relative to the most probable
      if (p > 0 && p >= params_.min_p) candidates_.push_back({p, static_cast<int>(i)});
    }
    keep_top_k();
    double mass = total();
    if (params_.top_p < 1) mass = keep_top_p(params_.top_p * mass);
    double left = uniform(params_.seed, params_.stream, static_cast<std::uint64_t>(position_)) * mass;
    for (const auto& c : candidates_)
      if ((left -= c.p) < 0) return c.id;
    return candidates_.back().id;  // the sum was rounded up
  }

  double total() const {
    double sum = 0;
    for (const auto& c : candidates_) sum += c.p;
    return sum;
  }
  void keep_top_k() {
    const auto k = static_cast<std::size_t>(std::max(params_.top_k, 0));
    if (k == 0) return;
    const auto more_probable = [](const Candidate& a, const Candidate& b) { return b < a; };
    if (k < candidates_.size()) {
      std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(k), candidates_.end(),
                       more_probable);
      candidates_.resize(k);
    }
    std::sort(candidates_.begin(), candidates_.end(), more_probable);
  }
  /// Leaves the most probable tokens whose sum first reaches `wanted`; returns that sum.
  double keep_top_p(double wanted) {
    std::make_heap(candidates_.begin(), candidates_.end());
    auto end = candidates_.end();
    double sum = 0;
    while (end != candidates_.begin()) {
      std::pop_heap(candidates_.begin(), end);
      sum += (--end)->p;
      if (sum >= wanted) break;
    }
    candidates_.erase(candidates_.begin(), end);
    std::reverse(candidates_.begin(), candidates_.end());
    return sum;
  }

  SamplingParams params_;
  std::vector<bool> seen_;
  std::unordered_map<int, int> counts_;
  std::vector<float> work_;
  std::vector<std::uint64_t> bits_;
  std::vector<Candidate> candidates_;
  int position_ = 0;
};

}  // namespace lamina::engine
