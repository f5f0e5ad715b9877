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
#include <lamina/core/random/philox.hpp>
#include <lamina/engine/request/logprobs.hpp>
#include <lamina/engine/request/token_mask.hpp>
#include <lamina/kernel/logits/adjust_logits.hpp>
#include <lamina/kernel/logits/sample.hpp>

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
  /// Whether logits are changed before a token is drawn, at place `from` of the answer or behind it, by what depends on
  /// more than them.
  bool adjusts(int from = 0) const {
    return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0 || !logit_bias.empty() ||
           !allowed_token_ids.empty() || mask || from < min_tokens;
  }
  /// How a session draws from logits, which have been adjusted if adjusts().
  kernel::SamplingRule rule() const {
    return kernel::SamplingRule{.temperature = greedy() ? 0 : temperature,
                                .top_p = top_p,
                                .min_p = min_p,
                                .top_k = top_k,
                                .seed = seed,
                                .stream = stream};
  }
};

/// Draws the tokens of one completion. Works in fp32 logits and fp64 probabilities, in the order: masks, bias,
/// penalties, temperature, min_p, top_k, top_p, draw. Ties go to the lowest id.
///
/// Sessions may adjust and draw themselves (kernel/logits/adjust_logits.hpp, kernel/logits/sample.hpp): the same token,
/// unless a draw falls within 1e-6 of the mass from a neighbour. They ask here what to adjust, and report what was
/// drawn.
class Sampler {
 public:
  /// prompt: ids that the repetition penalty counts; ids outside [0, vocab) are an Error.
  Sampler(SamplingParams params, std::span<const int> prompt, int vocab)
      : params_(std::move(params)), vocab_(static_cast<std::size_t>(vocab)), seen_(words_for(vocab), 0) {
    for (int id : prompt) mark(id);
    for (const auto& [id, bias] : params_.logit_bias) {
      check_id(id, "logit_bias");
      offset_of(id).bias += static_cast<float>(bias);
    }
    for (int id : params_.allowed_token_ids) check_id(id, "allowed_token_ids");
    allowed_ = bits_of(params_.allowed_token_ids);
    if (params_.min_tokens > 0) ends_ = bits_of(params_.ends);
  }
  static std::size_t words_for(int vocab) { return (static_cast<std::size_t>(vocab) + 63) / 64; }

  /// The next token from the model's logits (V). Error if one is not finite: a wrong number must end the request,
  /// never become a token.
  Sampled next(std::span<const float> logits) {
    if (logits.size() != vocab_)
      fail("sampler: ", logits.size(), " logits, wanted one for each of ", vocab_, " tokens");
    for (std::size_t i = 0; i < logits.size(); ++i)
      if (!std::isfinite(logits[i]))
        fail("sampler: the logit of token ", i, " at output position ", position_, " is ", logits[i],
             ", not a finite number: the model's activations overflowed; try --dtype bfloat16 or float32");
    adjust(logits);
    Sampled out;
    out.token.id = params_.greedy() ? argmax() : draw();
    if (params_.logprobs) out = logprobs_of(logits, out.token.id, params_.top_logprobs);
    drew(out.token.id);
    return out;
  }

  /// The token that was drawn, here or by a session.
  /// errors  the mask's
  void drew(int id) {
    mark(id);
    if (params_.mask) params_.mask->drawn(id);
    ++position_;
    if (params_.presence_penalty == 0 && params_.frequency_penalty == 0) return;
    offset_of(id).penalty = static_cast<float>(params_.frequency_penalty * ++counts_[id] + params_.presence_penalty);
  }

  /// Whether the next draw, or a later one, needs more than the logits and params().rule().
  bool adjusts() const { return params_.adjusts(position_); }
  /// Whether some tokens may not come next: allow() says which may.
  bool excludes() const { return !allowed_.empty() || params_.mask || position_ < params_.min_tokens; }
  /// Sets the bit of each token that may come next and clears the others; words_for(vocab) words.
  /// errors  the mask's
  void allow(std::span<std::uint64_t> bits) {
    if (params_.mask)
      params_.mask->fill(bits);
    else
      std::fill(bits.begin(), bits.end(), ~std::uint64_t{0});
    if (vocab_ % 64 != 0) bits.back() &= (std::uint64_t{1} << vocab_ % 64) - 1;
    for (std::size_t w = 0; w < allowed_.size(); ++w) bits[w] &= allowed_[w];
    if (position_ < params_.min_tokens) forbid_ends(bits);
  }
  /// The tokens that the repetition penalty counts, a bit each; empty if there is none.
  std::span<const std::uint64_t> penalised() const {
    return params_.repetition_penalty == 1 ? std::span<const std::uint64_t>() : seen_;
  }
  /// Biases and penalties of single tokens.
  std::span<const kernel::LogitOffset> offsets() const { return offsets_; }

  const SamplingParams& params() const { return params_; }

  static constexpr const char* nothing_left =
      "sampler: every token is excluded by allowed_token_ids, min_tokens, logit_bias or the structure of the answer";

 private:
  struct Candidate {
    double p;
    int id;
    /// Heaps keep the largest first: more probable, then lower id.
    bool operator<(const Candidate& o) const { return p != o.p ? p < o.p : id > o.id; }
  };
  static constexpr float masked = -std::numeric_limits<float>::infinity();

  void check_id(int id, const char* what) const {
    if (id < 0 || static_cast<std::size_t>(id) >= vocab_)
      fail("sampler: token id ", id, " of ", what, " is outside the vocabulary of ", vocab_);
  }
  static bool has(std::span<const std::uint64_t> bits, std::size_t id) { return bits[id / 64] >> id % 64 & 1; }
  static void set(std::span<std::uint64_t> bits, std::size_t id) { bits[id / 64] |= std::uint64_t{1} << id % 64; }
  /// The bits of ids, those outside the vocabulary left out; empty if there are no ids.
  std::vector<std::uint64_t> bits_of(const std::vector<int>& ids) const {
    std::vector<std::uint64_t> bits(ids.empty() ? 0 : seen_.size(), 0);
    for (const int id : ids)
      if (id >= 0 && static_cast<std::size_t>(id) < vocab_) set(bits, static_cast<std::size_t>(id));
    return bits;
  }
  void mark(int id) {
    check_id(id, "the prompt");
    set(seen_, static_cast<std::size_t>(id));
  }
  kernel::LogitOffset& offset_of(int id) {
    const auto [place, is_new] = place_of_offset_.emplace(id, offsets_.size());
    if (is_new) offsets_.push_back({.id = id});
    return offsets_[place->second];
  }
  /// AdjustLogits on one row.
  void adjust(std::span<const float> logits) {
    bits_.assign(seen_.size(), ~std::uint64_t{0});
    if (excludes()) allow(bits_);
    work_.assign(vocab_, masked);
    const auto adjust_one = [&](std::size_t id, const kernel::LogitOffset& offset) {
      const bool seen = params_.repetition_penalty != 1 && has(seen_, id);
      if (has(bits_, id)) work_[id] = kernel::adjusted_logit(logits[id], seen, params_.repetition_penalty, offset);
    };
    for (std::size_t id = 0; id < vocab_; ++id) adjust_one(id, {});
    for (const kernel::LogitOffset& offset : offsets_) adjust_one(static_cast<std::size_t>(offset.id), offset);
  }
  void forbid_ends(std::span<std::uint64_t> bits) const {
    if (params_.mask) {  // an answer that is complete cannot go on
      std::uint64_t others = 0;
      for (std::size_t w = 0; w < ends_.size(); ++w) others |= bits[w] & ~ends_[w];
      if (others == 0) return;
    }
    for (std::size_t w = 0; w < ends_.size(); ++w) bits[w] &= ~ends_[w];
  }

  int argmax() const {
    const auto best = std::max_element(work_.begin(), work_.end());
    if (!(*best > masked)) fail(nothing_left);
    return static_cast<int>(best - work_.begin());
  }

  int draw() {
    const double max = work_[static_cast<std::size_t>(argmax())];
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
  std::size_t vocab_;
  std::vector<std::uint64_t> seen_, allowed_, ends_;  ///< a bit for each token; empty: not asked for
  std::vector<kernel::LogitOffset> offsets_;
  std::unordered_map<int, std::size_t> place_of_offset_;
  std::unordered_map<int, int> counts_;
  std::vector<float> work_;
  std::vector<std::uint64_t> bits_;
  std::vector<Candidate> candidates_;
  int position_ = 0;
};

}  // namespace lamina::engine
