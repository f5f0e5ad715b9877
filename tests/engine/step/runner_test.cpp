#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/engine/single_sequence.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/model/qwen3_vl_moe/model.hpp>

#include "engine/prompts.hpp"
#include "engine/session_limits.hpp"
#include "engine/step/every_rule.hpp"
#include "model/parity.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::engine;
using namespace lamina::testing;

namespace {

/// Returns how often a sequence gave its pages back.
template <class Model>
std::uint64_t batching_changes_nothing(const SchedulerLimits& limits, int pages, int most_tokens) {
  Device<Cpu> device;
  const auto weights = rule_weights<Model>([](auto) { return false; });
  PagePool pool(pages);
  ImageRows images(6, 8);
  Scheduler scheduler(limits, pool, images);
  Runner<Model> runner({device, *weights}, image_token, session_limits(limits, pages));
  SingleSequence<Model> alone(device, *weights, image_token, limits.context_tokens);
  std::map<RequestId, std::vector<int>> answers;
  std::map<RequestId, std::pair<Batch, int>> requests;
  RequestId id = 1;
  std::mt19937 random(5);
  const auto step = [&] {
    const StepPlan plan = scheduler.plan();
    runner.start(plan, images);
    for (const Arrival& arrival : scheduler.received(runner.finish())) {
      answers[arrival.id].push_back(arrival.token);
      if (arrival.ended) runner.end(arrival.id);
    }
  };
  for (int i = 0; i < 40; ++i) {
    if (i % 2 == 0) {
      const Batch prompt = random_prompt<Model>(random() % 9);
      const int tokens = 1 + static_cast<int>(random() % static_cast<unsigned>(most_tokens));
      scheduler.add({.id = id,
                     .tokens = prompt.ids,
                     .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                     .max_tokens = tokens});
      runner.begin(id, std::make_shared<Batch>(prompt), {.temperature = 0});
      requests[id++] = {prompt, tokens};
    }
    step();
  }
  for (int i = 0; scheduler.running() + scheduler.waiting() > 0; ++i) {
    REQUIRE(i < 10000);
    step();
  }
  CHECK(scheduler.idle());
  for (const auto& [request, asked] : requests) {
    INFO("request " << request);
    std::vector<int> want = {best_of(alone.prefill(asked.first))};
    while (static_cast<int>(want.size()) < asked.second) want.push_back(best_of(alone.decode(want.back())));
    CHECK(answers[request] == want);
  }
  CHECK(scheduler.counts().prefix_hit > 0);
  return scheduler.counts().preemptions;
}

/// The logprobs of a prompt's tokens, read in chunks beside a request that is answered.
template <class Model>
std::vector<Sampled> scores_beside_another(Device<Cpu>& device, const Weights<Model, float, Cpu>& weights,
                                           const Batch& prompt, int top) {
  const SchedulerLimits limits{.rows = 2,
                               .step_tokens = 24,
                               .page_tokens = 16,
                               .context_tokens = 128,
                               .step_image_tokens = 24,
                               .scored_tokens = 7};
  PagePool pool(40);
  ImageRows images(6, 8);
  Scheduler scheduler(limits, pool, images);
  Runner<Model> runner({device, weights}, image_token, session_limits(limits, 40));
  std::vector<Sampled> out;
  for (const bool scored : {false, true}) {
    const RequestId id = scored ? 2 : 1;
    scheduler.add({.id = id,
                   .tokens = prompt.ids,
                   .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                   .max_tokens = 12,
                   .scores_prompt = scored});
    runner.begin(id, std::make_shared<Batch>(prompt),
                 {.temperature = 0, .prompt_logprobs = scored ? std::optional(top) : std::nullopt});
  }
  while (scheduler.running() + scheduler.waiting() > 0) {
    const StepPlan plan = scheduler.plan();
    CHECK(plan.scored_tokens <= 7);
    runner.start(plan, images);
    const StepChoices choices = runner.finish();
    for (const PromptScores& scores : choices.scores) {
      CHECK(scores.id == 2);
      CHECK(scores.first == static_cast<int>(out.size()) + 1);
      out.insert(out.end(), scores.tokens.begin(), scores.tokens.end());
    }
    scheduler.received(choices);
  }
  return out;
}

}  // namespace

TEST_CASE("Runner: a request with any rules gets the tokens that a Sampler draws of the same logits") {
  Device<Cpu> device;
  const auto weights = rule_weights<qwen3_vl::Qwen3VL_Tiny>([](auto) { return false; });
  check_every_rule(device, *weights, {});
}

TEST_CASE("Runner: a step that starts before the tokens of the one before are known obeys the same rules") {
  Device<Cpu> device;
  const auto weights = rule_weights<qwen3_vl::Qwen3VL_Tiny>([](auto) { return false; });
  CHECK(answers_to_rules(device, *weights, {}, true) == answers_to_rules(device, *weights, {}, false));
}

TEST_CASE("Runner: logprobs of a prompt are those of its beginnings, however it is cut") {
  using Model = qwen3_vl::Qwen3VL_Tiny;
  Device<Cpu> device;
  const auto weights = rule_weights<Model>([](auto) { return false; });
  Batch prompt = random_prompt<Model>(1);
  prompt.ids.insert(prompt.ids.begin(), {3, 1, 4, 1, 5, 9, 2, 6});  // more text than one chunk
  prompt.cu_seqlens.back() += 8;
  const auto scores = scores_beside_another<Model>(device, *weights, prompt, 3);
  REQUIRE(scores.size() + 1 == prompt.ids.size());
  SingleSequence<Model> alone(device, *weights, image_token, 128);
  const std::size_t text =
      static_cast<std::size_t>(std::find(prompt.ids.begin(), prompt.ids.end(), image_token) - prompt.ids.begin());
  for (std::size_t n = 1; n < text; ++n) {
    Batch beginning;
    beginning.ids.assign(prompt.ids.begin(), prompt.ids.begin() + static_cast<std::ptrdiff_t>(n));
    beginning.cu_seqlens = {0, static_cast<int>(n)};
    const Sampled want = logprobs_of(alone.prefill(beginning), prompt.ids[n], 3);
    const Sampled& got = scores[n - 1];
    CHECK(got.token.id == want.token.id);
    CHECK(got.token.logprob == Approx(want.token.logprob).margin(1e-4));
    REQUIRE(got.top.size() == 3);
    CHECK(got.top[0].id == want.top[0].id);
    CHECK(got.top[2].logprob == Approx(want.top[2].logprob).margin(1e-4));
  }
}

// Chunks and neighbours change the order of fp32 sums by rounding alone; of the tiny models' logits the two largest are
// further apart than that, so every token must be the same.
TEST_CASE("Runner: a request among others gets the answer that it gets alone") {
  const SchedulerLimits limits{
      .rows = 5, .step_tokens = 24, .page_tokens = 16, .context_tokens = 128, .step_image_tokens = 24};
  SECTION("qwen3_vl") { batching_changes_nothing<qwen3_vl::Qwen3VL_Tiny>(limits, 40, 12); }
  SECTION("qwen2_5_vl") { batching_changes_nothing<qwen2_5_vl::Qwen2_5VL_Tiny>(limits, 40, 12); }
  SECTION("qwen3_vl_moe") { batching_changes_nothing<qwen3_vl_moe::Qwen3VLMoe_Tiny>(limits, 40, 12); }
}

TEST_CASE("Runner: with too few pages for all, answers stay the same") {
  const auto preemptions = batching_changes_nothing<qwen3_vl::Qwen3VL_Tiny>(
      {.rows = 8, .step_tokens = 32, .page_tokens = 16, .context_tokens = 128, .step_image_tokens = 32}, 8, 50);
  CHECK(preemptions > 0);
}
