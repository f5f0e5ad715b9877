#include <lamina/engine/schedule/scheduler.hpp>

#include <deque>
#include <map>
#include <numeric>
#include <random>

#include "engine/fake_runner.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::engine;
using lamina::testing::error_of;

namespace {

/// A scheduler with its pools, a fake runner, and what each request was answered.
struct Bench {
  explicit Bench(SchedulerLimits l, int pages = 64, int image_blocks = 16)
      : limits(l), pool(pages), images(image_blocks, 4), scheduler(l, pool, images), runner(l) {}

  void add(Request request) {
    runner.knows(request);
    requests[request.id] = request;
    answers[request.id];
    scheduler.add(std::move(request));
  }
  /// Plans and runs one step; results of all steps but the last `ahead` arrive.
  StepPlan step(std::size_t ahead = 0) {
    const StepPlan plan = scheduler.plan();
    if (!plan.empty()) flight.push_back(runner.run(plan, images));
    while (flight.size() > ahead || (plan.empty() && !flight.empty())) arrive();
    return plan;
  }
  void arrive() {
    for (const Arrival& arrival : scheduler.received(flight.front())) {
      if (arrival.token >= 0) answers[arrival.id].push_back(arrival.token);
      if (arrival.ended) ended.insert(arrival.id);
    }
    flight.pop_front();
  }
  void drain(std::size_t ahead = 0) {
    for (int i = 0; scheduler.running() + scheduler.waiting() > 0; ++i) {
      REQUIRE(i < 100000);
      step(ahead);
    }
    while (!flight.empty()) arrive();
  }
  void check_answers() {
    for (const auto& [id, request] : requests) {
      INFO("request " << id);
      if (ended.count(id)) CHECK(answers[id] == lone_answer(request, limits.context_tokens));
    }
  }

  SchedulerLimits limits;
  PagePool pool;
  ImageRows images;
  Scheduler scheduler;
  FakeRunner runner;
  std::deque<StepChoices> flight;
  std::map<RequestId, Request> requests;
  std::map<RequestId, std::vector<int>> answers;
  std::set<RequestId> ended;
};

SchedulerLimits small() {
  return {.rows = 4, .step_tokens = 16, .page_tokens = 4, .context_tokens = 64, .step_image_tokens = 16};
}
std::vector<int> counting(int n, int from = 0) {
  std::vector<int> ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), from);
  return ids;
}
Request request_of(RequestId id, std::vector<int> tokens, int max_tokens) {
  return {.id = id, .tokens = std::move(tokens), .max_tokens = max_tokens};
}
ImageHash image(int n) {
  ImageHash hash{};
  hash[0] = static_cast<std::uint8_t>(n);
  return hash;
}
}  // namespace

TEST_CASE("Scheduler: a long prompt is read in chunks beside running sequences") {
  Bench bench(small());
  bench.add(request_of(1, counting(3), 20));
  bench.step();
  bench.add(request_of(2, counting(40, 100), 2));
  const StepPlan second = bench.step();
  REQUIRE(second.rows.size() == 2);
  CHECK(second.rows[0].id == 1);
  CHECK(second.rows[1].count == 15);
  CHECK_FALSE(second.rows[1].samples);
  bench.step();
  const StepPlan fourth = bench.step();
  CHECK(fourth.rows[1].first == 30);
  CHECK(fourth.rows[1].count == 10);
  CHECK(fourth.rows[1].samples);
  bench.drain();
  bench.check_answers();
  CHECK(bench.scheduler.idle());
}

TEST_CASE("Scheduler: a chunk limit shares steps among prompts") {
  auto limits = small();
  limits.prompt_chunk_tokens = 5;
  Bench bench(limits);
  bench.add(request_of(1, counting(12), 1));
  bench.add(request_of(2, counting(12, 50), 1));
  const StepPlan plan = bench.step();
  REQUIRE(plan.rows.size() == 2);
  CHECK(plan.rows[0].count == 5);
  CHECK(plan.rows[1].count == 5);
  bench.drain();
  bench.check_answers();
}

TEST_CASE("Scheduler: one step ahead gives the same answers, and none has a token too many") {
  for (const std::size_t ahead : {0u, 1u, 2u}) {
    Bench bench(small());
    for (int i = 0; i < 9; ++i) bench.add(request_of(static_cast<RequestId>(i), counting(5 + 3 * i, 7 * i), 1 + 4 * i));
    bench.drain(ahead);
    bench.check_answers();
    CHECK(bench.ended.size() == 9);
    CHECK(bench.scheduler.idle());
  }
}

TEST_CASE("Scheduler: a request that is cancelled gives everything back at once, wherever it is") {
  Bench bench(small());
  for (int i = 0; i < 6; ++i) bench.add(request_of(static_cast<RequestId>(i), counting(30, 40 * i), 10));
  bench.step(1);
  for (int i = 0; i < 6; ++i) CHECK(bench.scheduler.cancel(static_cast<RequestId>(i)));
  CHECK(bench.scheduler.idle());
  CHECK_FALSE(bench.scheduler.cancel(3));
  while (!bench.flight.empty()) bench.arrive();
  CHECK(bench.ended.empty());
}

TEST_CASE("Scheduler: a prompt that begins as another did reads only the rest") {
  Bench bench(small());
  bench.add(request_of(1, counting(18), 3));
  bench.drain();
  auto longer = counting(18);
  longer.push_back(99);
  bench.add(request_of(2, longer, 3));
  const StepPlan plan = bench.step();
  CHECK(plan.starts.at(0).cached == 16);
  CHECK(plan.rows.at(0).first == 16);
  bench.add(request_of(3, counting(16), 3));  // all of it is known; the last token is computed all the same
  CHECK(bench.step().starts.at(0).cached == 12);
  auto other = request_of(4, counting(18), 3);
  other.scope = "adapter";
  bench.add(other);
  CHECK(bench.step().starts.at(0).cached == 0);
  bench.drain();
  bench.check_answers();
  CHECK(bench.scheduler.idle());

  auto off = small();
  off.prefix_cache = false;
  Bench without(off);
  without.add(request_of(1, counting(18), 3));
  without.drain();
  without.add(request_of(2, counting(18), 3));
  CHECK(without.step().starts.at(0).cached == 0);
}

TEST_CASE("Scheduler: requests that arrive together share what the first of them computes") {
  Bench bench(small());
  bench.add(request_of(1, counting(13), 5));
  bench.add(request_of(2, counting(13), 5));
  bench.step();
  bench.add(request_of(3, counting(13), 5));
  CHECK(bench.step().starts.at(0).cached == 12);
  bench.drain();
  bench.check_answers();
}

TEST_CASE("Scheduler: with too few pages the newest gives way, and answers stay the same") {
  for (const std::size_t ahead : {0u, 1u}) {
    Bench bench(small(), 16);
    for (int i = 0; i < 8; ++i) bench.add(request_of(static_cast<RequestId>(i), counting(6, 20 * i), 40));
    bench.drain(ahead);
    bench.check_answers();
    CHECK(bench.ended.size() == 8);
    CHECK(bench.scheduler.counts().preemptions > 0);
    CHECK(bench.scheduler.idle());
  }
}

TEST_CASE("Scheduler: admission keeps room for what running sequences still write") {
  auto limits = small();
  limits.rows = 8;
  Bench bench(limits, 16);
  for (int i = 0; i < 8; ++i) bench.add(request_of(static_cast<RequestId>(i), counting(8, 20 * i), 40));
  const StepPlan plan = bench.step();
  CHECK(plan.starts.size() == 2);  // two of 8 tokens, and 0.7 * 40 tokens for each that runs
}

TEST_CASE("Scheduler: smaller priority is served first, and order of arrival decides among equals") {
  Bench bench(small());
  for (int i = 0; i < 4; ++i) bench.add(request_of(static_cast<RequestId>(i), counting(4, 10 * i), 30));
  bench.step();
  auto late = request_of(10, counting(4, 100), 2), urgent = request_of(11, counting(4, 200), 2);
  urgent.priority = -1;
  bench.add(late);
  bench.add(urgent);
  bench.scheduler.cancel(0);
  CHECK(bench.step().starts.at(0).id == 11);
  bench.scheduler.cancel(1);
  CHECK(bench.step().starts.at(0).id == 10);
}

TEST_CASE("Scheduler: a chunk stops before an image until the image can be encoded") {
  Bench bench(small());
  auto a = request_of(1, counting(30), 2);
  a.images = {{image(1), 2, 12}, {image(2), 16, 12}};
  bench.add(a);
  const StepPlan first = bench.step();
  REQUIRE(first.images.size() == 1);
  CHECK(first.rows.at(0).count == 16);  // the second image begins at token 16
  const StepPlan second = bench.step();
  CHECK(second.images.size() == 1);
  CHECK(second.rows.at(0).samples);
  auto b = request_of(2, counting(15, 50), 2);
  b.images = {{image(2), 2, 12}};
  bench.add(b);
  CHECK(bench.step().images.empty());  // known
  bench.drain();
  bench.check_answers();
  CHECK(bench.runner.encoded == 2);
}

TEST_CASE("Scheduler: images that a cached prefix covers are not encoded again") {
  Bench bench(small(), 64, 3);  // the image cache forgets the first image
  auto a = request_of(1, counting(20), 1);
  a.images = {{image(1), 2, 10}};
  bench.add(a);
  bench.drain();
  auto other = request_of(2, counting(14, 70), 1);
  other.images = {{image(2), 1, 12}};
  bench.add(other);
  bench.drain();
  a.id = 3;
  bench.add(a);
  const StepPlan plan = bench.step();
  CHECK(plan.starts.at(0).cached == 16);
  CHECK(plan.images.empty());
  auto another_image = a;
  another_image.id = 4;
  another_image.images[0].hash = image(9);
  bench.add(another_image);
  CHECK(bench.step().starts.at(0).cached == 0);
  bench.drain();
  bench.check_answers();
}

TEST_CASE("Scheduler: a request whose numbers are not finite ends alone, and nobody reuses its pages") {
  Bench bench(small());
  bench.add(request_of(1, counting(9), 4));
  bench.add(request_of(2, counting(9, 60), 4));
  bench.runner.poison(1);
  bench.drain(1);
  CHECK(bench.ended.size() == 2);
  CHECK(bench.answers[1].empty());
  CHECK(bench.answers[2] == lone_answer(bench.requests[2], 64));
  bench.add(request_of(3, counting(9), 4));
  CHECK(bench.step().starts.at(0).cached == 0);
  bench.drain();
  CHECK(bench.scheduler.idle());
}

TEST_CASE("Scheduler: what can never run is refused") {
  Bench bench(small(), 64, 2);
  const auto refused = [&](Request request) { return error_of([&] { bench.scheduler.add(request); }); };
  CHECK(refused(request_of(1, {}, 1)) == "request: the prompt is empty");
  CHECK(refused(request_of(1, counting(64), 1)) == "request: the prompt has 64 tokens, the context 64");
  CHECK(refused(request_of(1, counting(4), 0)) == "request: max_tokens is 0; it must be at least 1");
  auto large = request_of(1, counting(20), 1);
  large.images = {{image(1), 0, 9}};
  CHECK(refused(large) == "request: an image of 9 tokens is larger than the image cache");
  large.images = {{image(1), 4, 4}, {image(2), 7, 4}};
  CHECK(refused(large) == "request: an image of 4 tokens at token 7 of a prompt of 20");
  CHECK(error_of([&] { Bench(small(), 15); }) ==
        "scheduler: a sequence of 64 tokens (max_model_len) needs 16 pages of 4 tokens and there are 15: lower "
        "max_model_len to 60 or give the cache more memory");
  auto few = small();
  few.step_tokens = 3;
  CHECK(error_of([&] { Bench{few}; }) ==
        "scheduler: 3 tokens per step (max_num_batched_tokens) are fewer than 4 rows (max_num_seqs): each running "
        "sequence reads one token per step");
}

TEST_CASE("Scheduler: pages out of the window are given back while a request runs, and found again by the next") {
  auto limits = small();
  limits.window = 6;
  Bench bench(limits);
  bench.add(request_of(1, counting(10), 40));
  int most = 0;
  for (bench.step(); bench.scheduler.running() > 0; bench.step())
    most = std::max(most, bench.pool.total() - bench.pool.available());
  CHECK(most == 2);  // five tokens before the next, wherever pages of four begin
  bench.add(request_of(2, counting(10), 4));
  CHECK(bench.step().starts.at(0).cached == 8);
  bench.drain();
  bench.check_answers();
  CHECK(bench.scheduler.idle());
  limits.prefix_cache = false;
  Bench without(limits);
  without.add(request_of(1, counting(30), 9));
  without.step(), without.step(), without.step();
  CHECK(without.pool.total() - without.pool.available() == 2);
}

TEST_CASE("Scheduler: pages that a failed request gave back out of its window are nobody's") {
  auto limits = small();
  limits.window = 2;
  Bench bench(limits);
  bench.add(request_of(1, counting(13), 4));
  bench.runner.poison(1);
  bench.drain(1);
  bench.add(request_of(3, counting(13), 4));
  CHECK(bench.step().starts.at(0).cached == 0);
  bench.drain();
  CHECK(bench.scheduler.idle());
}

TEST_CASE("Scheduler: arrivals, departures and pressure at random change no answer and lose nothing") {
  for (unsigned seed = 0; seed < 24; ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    SchedulerLimits limits{.rows = 1 + below(6),
                           .step_tokens = 0,
                           .page_tokens = 1 << below(4),
                           .context_tokens = 48,
                           .prompt_chunk_tokens = below(2) * 7,
                           .step_image_tokens = 8 + below(20),
                           .window = below(2) * (1 + below(12)),
                           .prefix_cache = below(4) != 0};
    limits.step_tokens = limits.rows + below(20);
    const int least = (48 + limits.page_tokens - 1) / limits.page_tokens;
    Bench bench(limits, least + below(2 * least), 4 + below(8));
    RequestId next = 1;
    for (int i = 0; i < 400; ++i) {
      if (below(3) == 0) {
        auto request = request_of(next++, counting(1 + below(30), 10 * below(3)), 1 + below(30));
        request.priority = below(2);
        request.scope = below(5) == 0 ? "adapter" : "";
        const int length = static_cast<int>(request.tokens.size());
        for (int at = below(8); at + 16 < length && below(2) == 0; at += 17)
          request.images.push_back({image(below(4)), at, 1 + below(16)});
        // An image has one size.
        for (auto& span : request.images) span.tokens = 1 + span.hash[0] * 4;
        bench.add(request);
        if (below(20) == 0) bench.runner.poison(request.id);
      }
      if (below(9) == 0 && next > 1)
        bench.scheduler.cancel(1 + static_cast<RequestId>(below(static_cast<int>(next) - 1)));
      bench.step(static_cast<std::size_t>(below(3)));
    }
    bench.drain(1);
    CHECK(bench.scheduler.idle());
    for (const auto& [id, request] : bench.requests)
      if (bench.ended.count(id) && !bench.answers[id].empty()) {
        const auto alone = lone_answer(request, limits.context_tokens);
        CHECK(bench.answers[id].size() <= alone.size());
        CHECK(std::equal(bench.answers[id].begin(), bench.answers[id].end(), alone.begin()));
      }
  }
}

TEST_CASE("scheduler: each token of a prompt is scored once, few in a step, whatever is computed or given up") {
  Bench bench({.rows = 3, .step_tokens = 32, .page_tokens = 4, .context_tokens = 64, .scored_tokens = 5}, 24);
  std::vector<int> prompt(21);
  std::iota(prompt.begin(), prompt.end(), 1);
  for (RequestId id = 1; id <= 3; ++id)
    bench.add({.id = id, .tokens = prompt, .max_tokens = 40, .scores_prompt = id > 1});
  std::map<RequestId, int> scored;
  while (bench.scheduler.running() + bench.scheduler.waiting() > 0) {
    const StepPlan plan = bench.step();
    int tokens = 0;
    for (const StepRow& row : plan.rows) {
      if (row.scored > 0) CHECK(row.first == scored[row.id]);
      scored[row.id] += row.scored;
      tokens += row.scored;
    }
    CHECK(tokens == plan.scored_tokens);
    CHECK(tokens <= 5);
  }
  CHECK(scored == std::map<RequestId, int>{{1, 0}, {2, 20}, {3, 20}});
  CHECK(bench.scheduler.counts().preemptions > 0);
  bench.check_answers();
}
