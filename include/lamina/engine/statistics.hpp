#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

/// What an engine counts while it runs, for people who watch it.
namespace lamina::engine {

/// How many values were at most each of some bounds.
class Histogram {
 public:
  /// bounds: ascending.
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void add(double value) {
    const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    ++counts_[static_cast<std::size_t>(at)];
    ++count_;
    sum_ += value;
  }
  const std::vector<double>& bounds() const { return bounds_; }
  /// Values in (bound i - 1, bound i]; the last entry counts those above all bounds.
  const std::vector<std::uint64_t>& counts() const { return counts_; }
  std::uint64_t count() const { return count_; }
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

namespace detail {
inline std::vector<double> first_token_bounds() {
  return {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560};
}
inline std::vector<double> token_bounds() {
  return {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80};
}
inline std::vector<double> request_bounds() {
  return {.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
}
/// 1, 2, 5, 10, ... up to `most`.
inline std::vector<double> one_two_five(int most) {
  std::vector<double> bounds;
  for (double decade = 1;; decade *= 10)
    for (const double digit : {1.0, 2.0, 5.0}) {
      if (digit * decade > most) return bounds;
      bounds.push_back(digit * decade);
    }
}
inline std::vector<double> powers_of_two(int most) {
  std::vector<double> bounds;
  for (double bound = 1; bound <= most; bound *= 2) bounds.push_back(bound);
  return bounds;
}
}  // namespace detail

/// Of numbers of tokens up to `most`.
inline Histogram token_histogram(int most) { return Histogram(detail::one_two_five(most)); }

/// How a request ended.
enum class Outcome { stop, length, abort, error };
inline constexpr std::array<const char*, 4> outcome_names = {"stop", "length", "abort", "error"};

/// Requests that have an adapter, now.
struct AdapterUse {
  int running = 0, waiting = 0;
};

/// Counts since the start, in tokens unless the name says otherwise; times in seconds. The intervals are vLLM's: queue
/// is arrival to first plan, prefill from there to the first token, decode to the last token, inference both.
struct Statistics {
  explicit Statistics(int context_tokens = 32768, int step_tokens = 8192)
      : prompt_lengths(token_histogram(context_tokens)),
        answer_lengths(token_histogram(context_tokens)),
        max_tokens(token_histogram(context_tokens)),
        step_lengths(detail::powers_of_two(2 * step_tokens)) {}

  int running = 0, waiting = 0;                ///< requests, now
  int pages = 0, pages_used = 0;               ///< used: referenced by a request
  std::map<std::string, AdapterUse> adapters;  ///< by name; those without requests are not here
  std::uint64_t prompt = 0, generated = 0;
  std::uint64_t steps = 0, preemptions = 0;
  std::uint64_t prefix_queried = 0, prefix_hit = 0;
  std::uint64_t images_shown = 0, images_encoded = 0;  ///< images of prompts that were started, and encoded
  std::array<std::uint64_t, 4> outcomes = {};          ///< requests, by Outcome
  bool leaked = false;  ///< pages, rows or images were still held when no request was left: a bug

  Histogram first_token{detail::first_token_bounds()}, between_tokens{detail::token_bounds()};
  Histogram per_token{detail::token_bounds()};  ///< of a request: decode time by tokens after the first
  Histogram whole{detail::request_bounds()}, queue{detail::request_bounds()}, inference{detail::request_bounds()};
  Histogram prefill{detail::request_bounds()}, decode{detail::request_bounds()};
  Histogram prompt_lengths, answer_lengths, max_tokens, step_lengths;

  double page_use() const { return pages ? static_cast<double>(pages_used) / pages : 0; }
};

/// When one request passed its stations.
struct RequestTimes {
  using Clock = std::chrono::steady_clock;
  Clock::time_point arrived = {}, started = {}, first = {}, last = {};
  int prompt = 0, generated = 0, max_tokens = 0;

  /// Notes a token; returns how many tokens of prompt and answer it accounts for.
  int token(Statistics& s, Clock::time_point now) {
    const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
    ++s.generated;
    const bool is_first = ++generated == 1;
    if (is_first) {
      s.prompt += static_cast<std::uint64_t>(prompt);
      s.first_token.add(seconds(now - arrived));
      first = now;
    } else {
      s.between_tokens.add(seconds(now - last));
    }
    last = now;
    return is_first ? prompt + 1 : 1;
  }
  /// Notes the end. Requests that were given up or failed have no lengths and times.
  void end(Statistics& s, Outcome outcome) const {
    const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
    ++s.outcomes[static_cast<std::size_t>(outcome)];
    if (generated == 0 || outcome == Outcome::error) return;
    s.whole.add(seconds(last - arrived));
    s.queue.add(seconds(started - arrived));
    s.prefill.add(seconds(first - started));
    s.decode.add(seconds(last - first));
    s.inference.add(seconds(last - started));
    if (generated > 1) s.per_token.add(seconds(last - first) / (generated - 1));
    s.prompt_lengths.add(prompt);
    s.answer_lengths.add(generated);
    s.max_tokens.add(max_tokens);
  }
};

}  // namespace lamina::engine
