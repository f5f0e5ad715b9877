#pragma once
#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include <lamina/engine/statistics.hpp>

namespace lamina::serve {

/// Prompts whose choices have all been answered, as vLLM counts them. Any thread.
class PromptCounts {
 public:
  explicit PromptCounts(int context_tokens) : counts_{.longest = engine::token_histogram(context_tokens)} {}
  struct Counts {
    engine::Histogram choices{{1, 2, 5, 10, 20}};
    engine::Histogram longest;  ///< tokens of a prompt's longest answer
  };

  void add(int choices, int longest_tokens) {
    const std::lock_guard lock(mutex_);
    counts_.choices.add(choices);
    counts_.longest.add(longest_tokens);
  }
  Counts snapshot() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  mutable std::mutex mutex_;
  Counts counts_;
};

/// The answers of one prompt that are still to come.
struct AnswersLeft {
  int left = 0, longest_tokens = 0;
};

}  // namespace lamina::serve
