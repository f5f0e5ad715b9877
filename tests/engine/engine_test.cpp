#include <lamina/engine/engine.hpp>

#include <condition_variable>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/fake_session.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::engine;

namespace {

/// What one request was answered; waits for it.
class Collected final : public RequestListener {
 public:
  void started(int cached) override {
    const std::lock_guard lock(mutex_);
    this->cached = cached;
    ++starts;
    changed_.notify_all();
  }
  bool token(const Chosen& chosen, Last last) override {
    const std::lock_guard lock(mutex_);
    after_end += ends > 0;
    tokens.push_back(chosen.token);
    if (last != Last::no) ++ends, this->last = last;
    changed_.notify_all();
    return static_cast<int>(tokens.size()) != enough;
  }
  void cancelled() override { end("cancelled"); }
  void failed(const std::string& message) override { end(message); }

  /// Waits until the answer has ended, or has so many tokens.
  void wait(std::size_t count = 1 << 30) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [&] { return ends > 0 || tokens.size() >= count; }))
      fail("a request did not end");
  }

  int enough = -1;  ///< after so many tokens no more are wanted
  int cached = -1, starts = 0, ends = 0, after_end = 0;
  Last last = Last::no;
  std::vector<int> tokens;
  std::string message;

 private:
  void end(const std::string& why) {
    const std::lock_guard lock(mutex_);
    ++ends;
    message = why;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

std::vector<int> counting(int n, int from = 0) {
  std::vector<int> ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), from);
  return ids;
}
std::shared_ptr<const Batch> prompt_of(std::vector<int> ids) {
  auto batch = std::make_shared<Batch>();
  batch->cu_seqlens = {0, static_cast<int>(ids.size())};
  batch->ids = std::move(ids);
  return batch;
}

/// An engine on a fake session.
struct Bench {
  explicit Bench(const EngineLimits& limits = {}, bool ahead = false) {
    options.ahead = ahead;
    engine = std::make_unique<Engine>(std::make_unique<FakeEngineSession>(options), limits);
  }
  ~Bench() { options.hold = false; }
  std::shared_ptr<Collected> ask(std::shared_ptr<const Batch> prompt, int max_tokens, SamplingParams sampling = {}) {
    auto listener = std::make_shared<Collected>();
    id = engine->submit({.prompt = prompt,
                         .images = FakeEngineSession::images_of(*prompt),
                         .sampling = std::move(sampling),
                         .max_tokens = max_tokens,
                         .listener = listener});
    return listener;
  }
  std::vector<int> alone(const Batch& prompt, int max_tokens) const {
    return lone_answer(
        {.id = 1, .tokens = prompt.ids, .images = FakeEngineSession::images_of(prompt), .max_tokens = max_tokens},
        options.limits.context_tokens);
  }
  /// Everything was given back, and every request learned once how it ended.
  void check_idle() {
    engine->stop();
    const Statistics s = engine->statistics();
    CHECK_FALSE(s.leaked);
    CHECK(s.running + s.waiting == 0);
    CHECK(s.pages_used == 0);
    CHECK(options.live == 0);
  }

  FakeOptions options;
  std::unique_ptr<Engine> engine;
  RequestId id = 0;  ///< of the last request
};

}  // namespace

TEST_CASE("engine: many requests side by side are answered as each would be alone") {
  for (const bool ahead : {false, true}) {
    Bench bench({}, ahead);
    std::vector<std::shared_ptr<const Batch>> prompts;
    std::vector<std::shared_ptr<Collected>> answers;
    for (int i = 0; i < 40; ++i) {
      prompts.push_back(prompt_of(counting(1 + 5 * i, i % 3)));
      answers.push_back(bench.ask(prompts.back(), 1 + i));
    }
    for (std::size_t i = 0; i < answers.size(); ++i) {
      answers[i]->wait();
      CHECK(answers[i]->tokens == bench.alone(*prompts[i], 1 + static_cast<int>(i)));
      CHECK(answers[i]->last == Last::length);
    }
    bench.check_idle();
    for (const auto& answer : answers) CHECK((answer->starts == 1 && answer->ends == 1 && answer->after_end == 0));
    const Statistics s = bench.engine->statistics();
    CHECK(s.outcomes[1] == 40);
    CHECK(s.first_token.count() == 40);
    CHECK(s.between_tokens.count() == s.generated - 40);
    CHECK(s.step_lengths.sum() == static_cast<double>(s.prompt + s.generated));
  }
}

TEST_CASE("engine: an answer ends with an end token, which is its last, at most one step late") {
  for (const bool ahead : {false, true}) {
    Bench bench({}, ahead);
    const auto prompt = prompt_of(counting(10));
    const std::vector<int> whole = bench.alone(*prompt, 20);
    const auto answer = bench.ask(prompt, 20, {.ends = {whole[4], 5000}});
    answer->wait();
    const auto first = std::find(whole.begin(), whole.end(), whole[4]);
    CHECK(answer->tokens == std::vector<int>(whole.begin(), first + 1));
    CHECK(answer->last == Last::end_token);
    bench.check_idle();
    CHECK(bench.options.steps <= static_cast<int>(answer->tokens.size()) + ahead);
    CHECK(answer->after_end == 0);
  }
}

TEST_CASE("engine: a cancelled request ends within a step, others go on") {
  for (const bool ahead : {false, true}) {
    Bench bench({}, ahead);
    const auto prompt = prompt_of(counting(10)), other = prompt_of(counting(12));
    const auto stays = bench.ask(other, 100);
    bench.options.hold = true;  // no step ends before the request was cancelled
    const auto answer = bench.ask(prompt, 200);
    bench.engine->cancel(bench.id);
    bench.options.hold = false;
    answer->wait();
    CHECK(answer->message == "cancelled");
    CHECK(answer->tokens.size() <= 2);
    stays->wait();
    CHECK(stays->tokens == bench.alone(*other, 100));
    bench.check_idle();
    CHECK((answer->ends == 1 && answer->after_end == 0));
    CHECK(bench.engine->statistics().outcomes[2] == 1);
  }
}

TEST_CASE("engine: a cancellation takes effect in the step that is under way") {
  Bench bench;
  const auto answer = bench.ask(prompt_of(counting(10)), 200);
  answer->wait(3);
  bench.options.hold = true;
  const int before = bench.options.steps;
  bench.engine->cancel(bench.id);
  bench.options.hold = false;
  answer->wait();
  CHECK(bench.options.steps <= before + 2);
}

TEST_CASE("engine: a listener that wants no more tokens gets none") {
  Bench bench;
  auto listener = std::make_shared<Collected>();
  listener->enough = 5;
  bench.engine->submit({.prompt = prompt_of(counting(10)), .max_tokens = 200, .listener = listener});
  listener->wait();
  CHECK(listener->message == "cancelled");
  CHECK(listener->tokens.size() < 200);
  bench.check_idle();
  CHECK(bench.engine->statistics().outcomes[0] == 1);
}

TEST_CASE("engine: logits that are not finite end their request alone") {
  for (const bool ahead : {false, true}) {
    Bench bench({}, ahead);
    bench.options.hold = true;
    const auto prompt = prompt_of(counting(40));
    std::vector<std::shared_ptr<Collected>> answers;
    for (int i = 0; i < 6; ++i) answers.push_back(bench.ask(prompt, 30));
    bench.options.poisoned = 3;
    bench.options.hold = false;
    for (auto& answer : answers) answer->wait();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (i != 2) CHECK(answers[i]->tokens == bench.alone(*prompt, 30));
      if (i == 2) CHECK(answers[i]->message.find("is not a finite number") != std::string::npos);
      if (i == 2) CHECK(answers[i]->message.find("output position") != std::string::npos);
    }
    bench.check_idle();
    CHECK(bench.engine->statistics().outcomes[3] == 1);
  }
}

TEST_CASE("engine: a step that fails ends the requests of that step, and nothing of it is used again") {
  for (const bool ahead : {false, true})
    for (const bool at_start : {false, true}) {
      Bench bench({}, ahead);
      (at_start ? bench.options.fail_start : bench.options.fail_finish) = 4;
      const auto prompt = prompt_of(counting(100));
      const auto answer = bench.ask(prompt, 30);
      answer->wait();
      CHECK(answer->message == (at_start ? "the step could not be started" : "the step failed"));
      const auto again = bench.ask(prompt, 30);
      again->wait();
      CHECK(again->tokens == bench.alone(*prompt, 30));
      CHECK(again->cached == 0);
      bench.check_idle();
    }
}

TEST_CASE("engine: a request that the session refuses fails alone") {
  Bench bench;
  const auto prompt = prompt_of(counting(10));
  const auto refused = bench.ask(prompt, 5, {.top_k = 13});
  const auto answer = bench.ask(prompt, 5);
  refused->wait();
  answer->wait();
  CHECK(refused->message == "this request is refused");
  CHECK(answer->tokens == bench.alone(*prompt, 5));
  CHECK_THROWS_AS(bench.ask(prompt_of({}), 5), Error);
  CHECK_THROWS_AS(bench.ask(prompt_of(counting(256)), 5), Error);
}

TEST_CASE("engine: a prompt that was read before is not read again but for its end") {
  Bench bench;
  const auto prompt = prompt_of(counting(100));
  const auto first = bench.ask(prompt, 3);
  first->wait();
  const auto second = bench.ask(prompt, 3);
  second->wait();
  CHECK(first->cached == 0);
  CHECK(second->cached == 96);  // whole pages of 16
  CHECK(second->tokens == first->tokens);
  bench.check_idle();
  CHECK(bench.engine->statistics().prefix_hit == 96);
  Bench without({.prefix_cache = false});
  without.ask(prompt, 3)->wait();
  const auto third = without.ask(prompt, 3);
  third->wait();
  CHECK(third->cached == 0);
}

TEST_CASE("engine: what waits is bounded in requests, tokens and bytes") {
  const auto fill = [](Bench& bench, const Batch& prompt, int most) {
    bench.options.hold = true;
    std::vector<std::shared_ptr<Collected>> answers;
    try {
      for (int i = 0; i < most; ++i) answers.push_back(bench.ask(std::make_shared<Batch>(prompt), 3));
    } catch (const Overloaded&) {
    }
    bench.options.hold = false;
    for (auto& answer : answers) answer->wait();
    return answers.size();
  };
  const Batch prompt = *prompt_of(counting(100));
  {
    Bench bench({.waiting_requests = 5});
    const std::size_t taken = fill(bench, prompt, 30);
    CHECK(taken >= 5);
    CHECK(taken <= 5 + 8);
    CHECK(fill(bench, prompt, 3) == 3);  // it has room again
    bench.check_idle();
  }
  {
    Bench bench({.waiting_tokens = 450});
    const std::size_t taken = fill(bench, prompt, 30);
    CHECK(taken >= 4);
    CHECK(taken <= 4 + 8);
  }
  {
    Batch large = prompt;
    large.patches.resize(1000);
    Bench bench({.patch_bytes = 10'000});
    CHECK(fill(bench, large, 30) == 2);
    CHECK(fill(bench, large, 2) == 2);
  }
}

TEST_CASE("engine: stopping ends what runs and what waits; nothing more is taken") {
  Bench bench;
  std::vector<std::shared_ptr<Collected>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(bench.ask(prompt_of(counting(50, i)), 200));
  answers.front()->wait(1);
  bench.engine->cancel_waiting();
  answers.back()->wait();
  CHECK(answers.back()->message == "cancelled");
  bench.engine->stop();
  for (const auto& answer : answers) CHECK(answer->ends == 1);
  CHECK_THROWS_AS(bench.ask(prompt_of(counting(5)), 5), Overloaded);
  bench.check_idle();
}

TEST_CASE("engine: random requests, images, cancellations and poison leave nothing behind") {
  for (const bool ahead : {false, true}) {
    Bench bench({.prompt_chunk_tokens = 24}, ahead);
    bench.options.limits.pages = 24;
    bench.engine = std::make_unique<Engine>(std::make_unique<FakeEngineSession>(bench.options),
                                            EngineLimits{.prompt_chunk_tokens = 24});
    bench.options.poisoned = 77;
    std::mt19937 random(ahead ? 1 : 2);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    std::map<RequestId, std::pair<std::shared_ptr<const Batch>, std::shared_ptr<Collected>>> asked;
    std::set<RequestId> cancelled;
    for (int i = 0; i < 400; ++i) {
      Batch prompt;
      prompt.ids = counting(1 + below(60), below(2));
      for (int images = below(3); images > 0; --images) {
        const int tokens = 1 + below(30);
        prompt.grids.push_back({1, 1 + below(6), tokens});
        prompt.ids.insert(prompt.ids.end(), static_cast<std::size_t>(tokens), FakeEngineSession::placeholder);
        prompt.ids.push_back(below(9));
      }
      prompt.cu_seqlens = {0, static_cast<int>(prompt.ids.size())};
      // Images of one hash are one image, so their sizes must agree.
      for (Grid& grid : prompt.grids) grid.h = grid.w;
      const auto shared = std::make_shared<const Batch>(std::move(prompt));
      const auto listener = bench.ask(shared, 1 + below(60));
      asked[bench.id] = {shared, listener};
      if (below(4) == 0) {
        const RequestId victim = 1 + static_cast<RequestId>(below(static_cast<int>(bench.id)));
        bench.engine->cancel(victim);
        cancelled.insert(victim);
      }
      if (below(50) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    for (auto& [id, pair] : asked) pair.second->wait();
    bench.check_idle();
    for (auto& [id, pair] : asked) {
      const auto& [prompt, answer] = pair;
      CHECK((answer->ends == 1 && answer->after_end == 0));
      if (!cancelled.count(id) && id != 77) CHECK(answer->message == "");
      if (answer->message.empty())
        CHECK(answer->tokens == bench.alone(*prompt, static_cast<int>(answer->tokens.size())));
    }
  }
}
