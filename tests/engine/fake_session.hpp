#pragma once
#include <lamina/engine/session.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "engine/fake_runner.hpp"
#include "support/catch.hpp"

namespace lamina::engine {

/// What a test wants of its session; shared with the test, whose engine ends first.
struct FakeOptions {
  ~FakeOptions() { CHECK(wrong_plan == ""); }
  SessionLimits limits{.rows = 8,
                       .step_tokens = 64,
                       .context_tokens = 256,
                       .pages = 64,
                       .page_tokens = 16,
                       .image_blocks = 16,
                       .image_block_rows = 8};
  std::atomic<bool> ahead{false};                  ///< steps are started before the results of the last one are known
  std::atomic<bool> hold{false};                   ///< finish() does not return
  std::atomic<int> steps{0}, live{0};              ///< started so far; requests between begin() and end()
  std::atomic<int> fail_start{0}, fail_finish{0};  ///< the step of this number fails; 0: none
  std::atomic<RequestId> poisoned{0};              ///< its logits are not finite
  std::string wrong_plan;                          ///< what FakeRunner has said, in the engine's thread
};

/// An EngineSession whose answers are a function of the tokens and images before them: see FakeRunner.
class FakeEngineSession final : public EngineSession {
 public:
  explicit FakeEngineSession(FakeOptions& options)
      : options_(options),
        runner_({.rows = options.limits.rows,
                 .step_tokens = options.limits.step_tokens,
                 .page_tokens = options.limits.page_tokens,
                 .context_tokens = options.limits.context_tokens}) {}
  const SessionLimits& limits() const override { return options_.limits; }
  int vocab_size() const override { return 1000; }

  void begin(RequestId id, std::shared_ptr<const Batch> prompt, const SamplingParams& sampling) override {
    if (sampling.top_k == 13) fail("this request is refused");
    runner_.knows({.id = id, .tokens = prompt->ids, .images = images_of(*prompt)});
    ++options_.live;
  }
  void end(RequestId) override { --options_.live; }

  void start(const StepPlan& plan, const ImageRows& images) override {
    if (++options_.steps == options_.fail_start) fail("the step could not be started");
    if (options_.poisoned) runner_.poison(options_.poisoned);
    try {
      under_way_.push_back(runner_.run(plan, images));
    } catch (const std::logic_error& e) {
      options_.wrong_plan = e.what();
      throw;
    }
    numbers_.push_back(options_.steps);
  }
  bool may_start_ahead() const override { return options_.ahead; }
  std::vector<float> logits() override { fail("a fake has no logits"); }
  StepChoices finish() override {
    while (options_.hold) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    StepChoices choices = std::move(under_way_.front());
    under_way_.pop_front();
    const int number = numbers_.front();
    numbers_.pop_front();
    if (number == options_.fail_finish) fail("the step failed");
    return choices;
  }

  /// Where the prompts of these tests show images: `grids` of one row, at the placeholders' tokens.
  static std::vector<ImageSpan> images_of(const Batch& prompt) {
    std::vector<ImageSpan> spans;
    std::size_t at = 0;
    for (const Grid& grid : prompt.grids) {
      while (prompt.ids[at] != placeholder) ++at;
      spans.push_back({{static_cast<std::uint8_t>(grid.h)}, static_cast<int>(at), grid.w});
      at += static_cast<std::size_t>(grid.w);
    }
    return spans;
  }
  static constexpr int placeholder = 2000;

 private:
  FakeOptions& options_;
  FakeRunner runner_;
  std::deque<StepChoices> under_way_;
  std::deque<int> numbers_;
};

}  // namespace lamina::engine
