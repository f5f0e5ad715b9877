#include <lamina/engine/schedule/scheduler.hpp>

#include <map>
#include <numeric>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::engine;
using lamina::testing::error_of;

namespace {

std::shared_ptr<const LoadedAdapter> adapter(AdapterId id, bool encodes_images = false) {
  auto a = std::make_shared<LoadedAdapter>();
  a->id = id, a->encodes_images = encodes_images;
  return a;
}

/// A scheduler whose requests are answered with zeros.
struct Steps {
  explicit Steps(int adapter_slots, int rows = 3)
      : scheduler({.rows = rows,
                   .step_tokens = 32,
                   .page_tokens = 4,
                   .context_tokens = 32,
                   .step_image_tokens = 16,
                   .adapter_slots = adapter_slots},
                  pool, images) {}
  /// A prompt that equals all others.
  void add(RequestId id, std::shared_ptr<const LoadedAdapter> a, int max_tokens = 2,
           std::vector<ImageSpan> spans = {}) {
    std::vector<int> ids(9);
    std::iota(ids.begin(), ids.end(), 0);
    scheduler.add(
        {.id = id, .tokens = ids, .images = std::move(spans), .max_tokens = max_tokens, .adapter = std::move(a)});
  }
  StepPlan step() {
    StepPlan plan = scheduler.plan();
    StepChoices choices{.number = plan.number, .chosen = {}, .scores = {}};
    for (const StepRow& row : plan.rows)
      if (row.samples) choices.chosen.push_back({row.id, 0});
    for (const Arrival& arrival : scheduler.received(choices))
      if (arrival.ended) ended.push_back(arrival.id);
    return plan;
  }
  void drain() {
    for (int i = 0; scheduler.running() + scheduler.waiting() > 0; ++i) {
      REQUIRE(i < 1000);
      step();
    }
    CHECK(scheduler.idle());
  }

  PagePool pool{40};
  ImageRows images{4, 4};
  Scheduler scheduler;
  std::vector<RequestId> ended;
};

}  // namespace

TEST_CASE("Scheduler: an adapter is loaded when a request of it first begins, and stays") {
  Steps steps(2);
  steps.add(1, adapter(7)), steps.add(2, nullptr), steps.add(3, adapter(7));
  const StepPlan plan = steps.step();
  REQUIRE(plan.adapters.size() == 1);
  CHECK(plan.adapters[0].adapter->id == 7);
  CHECK(plan.rows.size() == 3);
  CHECK(plan.has_adapters());
  for (const StepRow& row : plan.rows) CHECK(row.adapter_slot == (row.id == 2 ? -1 : plan.adapters[0].slot));
  steps.drain();
  steps.add(4, adapter(7));
  CHECK(steps.step().adapters.empty());
  steps.drain();
  steps.add(5, nullptr);
  CHECK(!steps.step().has_adapters());
  steps.drain();
}

TEST_CASE("Scheduler: a request whose adapter finds no slot waits, and later ones go first") {
  Steps steps(1);
  steps.add(1, adapter(7), 4), steps.add(2, adapter(8)), steps.add(3, adapter(7)), steps.add(4, nullptr);
  const StepPlan first = steps.step();
  CHECK(first.rows.size() == 3);  // all but 2
  steps.drain();
  CHECK(steps.ended == std::vector<RequestId>{3, 4, 1, 2});
}

TEST_CASE("Scheduler: no stream of requests of one adapter keeps another adapter's request waiting for ever") {
  Steps steps(1);
  steps.add(1, adapter(7), 4), steps.add(2, adapter(8));
  RequestId id = 3;
  while (std::find(steps.ended.begin(), steps.ended.end(), 2) == steps.ended.end()) {
    REQUIRE(id < 60);
    steps.add(id++, adapter(7), 4);
    steps.step();
  }
  CHECK(id > 5);  // some did overtake it
  steps.drain();
}

TEST_CASE("Scheduler: pages and images that an adapter computed are not another's") {
  Steps steps(3);
  ImageSpan image{{}, 2, 4};
  steps.add(1, adapter(7), 1, {image});
  CHECK(steps.step().images.size() == 1);
  steps.add(2, adapter(7), 1, {image}), steps.add(3, adapter(8), 1, {image}), steps.add(4, nullptr, 1, {image});
  const StepPlan plan = steps.step();
  REQUIRE(plan.starts.size() == 3);
  CHECK(plan.starts[0].cached == 8);
  CHECK(plan.starts[1].cached == 0);
  CHECK(plan.starts[2].cached == 0);
  CHECK(plan.images.empty());  // these adapters do not change the tower: its rows are the base model's
  steps.add(5, adapter(9, true), 1, {image});
  const StepPlan encoded = steps.step();
  REQUIRE(encoded.images.size() == 1);
  CHECK(encoded.images[0].adapter_slot == encoded.rows[0].adapter_slot);
  steps.drain();
}

TEST_CASE("Scheduler: a salt and an adapter never make the scope of another adapter") {
  Steps steps(2);
  const auto add = [&](RequestId id, std::shared_ptr<const LoadedAdapter> a, const std::string& salt) {
    steps.scheduler.add({.id = id, .tokens = {0, 1, 2, 3, 4}, .max_tokens = 1, .scope = salt, .adapter = std::move(a)});
    const StepPlan plan = steps.step();
    return plan.starts.at(0).cached;
  };
  CHECK(add(1, adapter(7), "") == 0);
  CHECK(add(2, nullptr, "7 ") == 0);
  CHECK(add(3, nullptr, "") == 0);
  CHECK(add(4, adapter(7), "salt") == 0);
  CHECK(add(5, adapter(7), "") == 4);
}

TEST_CASE("Scheduler: adapters of steps that failed are loaded again") {
  Steps steps(1);
  steps.add(1, adapter(7));
  const StepPlan plan = steps.scheduler.plan();
  CHECK(plan.adapters.size() == 1);
  CHECK(steps.scheduler.failed({plan}) == std::vector<RequestId>{1});
  CHECK(steps.scheduler.idle());
  steps.add(2, adapter(7));
  CHECK(steps.step().adapters.size() == 1);
  steps.drain();
}

TEST_CASE("Scheduler: without slots a request with an adapter is refused") {
  Steps steps(0);
  CHECK(error_of([&] { steps.add(1, adapter(7)); }).find("no slot") != std::string::npos);
}
