#pragma once
#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/engine/step/runner.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/prompts.hpp"
#include "engine/session_limits.hpp"
#include "support/catch.hpp"

/// Requests with every rule that they may have, side by side on one model.
namespace lamina::testing {

/// Lets about three quarters of the tokens come, others after each token. `fails_at`: the draw before which it gives
/// up; `closed_at`: that for which no token is left.
struct Sieve final : engine::TokenMask {
  explicit Sieve(int fails_at = -1, int closed_at = -1) : fails_at(fails_at), closed_at(closed_at) {}
  void fill(std::span<std::uint64_t> bits) override {
    if (draws == fails_at) fail("the mask gives up");
    for (std::uint64_t& word : bits) word = draws == closed_at ? 0 : random() | random();
  }
  void drawn(int token) override { random.seed(static_cast<unsigned>(token + 7 * ++draws)); }

  int fails_at, closed_at, draws = 0;
  std::mt19937_64 random{5};
};

inline std::vector<engine::SamplingParams> every_rule() {
  std::vector<engine::SamplingParams> rules = {
      {},
      {.repetition_penalty = 1.3},
      {.repetition_penalty = 1e-40},
      {.presence_penalty = 1.5},
      {.frequency_penalty = -0.7},
      {.presence_penalty = -0.3, .frequency_penalty = 0.9, .logit_bias = {{3, 4.0}, {200, -100.0}, {7, 2.5}}},
      {.logit_bias = {{11, 3.0}, {12, 3.0}}},
      {.allowed_token_ids = {5, 6, 7, 8, 90, 91, 255}},
      {.min_tokens = 3, .ends = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 64, 65, 66, 300}},
      {.mask = std::make_shared<Sieve>(), .min_tokens = 2, .ends = {1, 2, 64}},
      {.mask = std::make_shared<Sieve>(2)},
      {.mask = std::make_shared<Sieve>(-1, 3)},
      {.repetition_penalty = 1.05,
       .presence_penalty = 0.2,
       .frequency_penalty = 0.1,
       .logit_bias = {{9, 1.0}},
       .allowed_token_ids = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 90, 91},
       .mask = std::make_shared<Sieve>(),
       .min_tokens = 4,
       .ends = {5, 90}},
      {.repetition_penalty = 1.05, .logprobs = true, .top_logprobs = 2},
      {.logprobs = true}};
  const std::size_t each = rules.size();
  for (std::size_t i = 0; i < 2 * each; ++i) {
    engine::SamplingParams params = rules[i % each];
    params.temperature = i < each ? 0 : 1.2;
    if (i >= each) params.top_p = 0.9, params.top_k = 40;
    rules.push_back(params);
  }
  for (std::size_t i = 0; i < rules.size(); ++i) rules[i].seed = 40 + i;
  return rules;
}
/// The same with a mask of its own.
inline engine::SamplingParams with_own_mask(engine::SamplingParams params) {
  if (params.mask) params.mask = std::make_shared<Sieve>(static_cast<const Sieve&>(*params.mask));
  return params;
}

/// Each gets the tokens that a Sampler draws of the same logits, or its error.
template <class Model, Real T, Backend B>
void check_every_rule(Device<B>& device, const Weights<Model, T, B>& weights, std::vector<int> graph_rows) {
  using namespace engine;
  const SchedulerLimits limits{
      .rows = 6, .step_tokens = 24, .page_tokens = 16, .context_tokens = 128, .step_image_tokens = 24};
  const SessionLimits memory = session_limits(limits, 24);
  PagePool pool(memory.pages);
  ImageRows images(memory.image_blocks, memory.image_block_rows);
  Scheduler scheduler(limits, pool, images);
  Runner<Model, T, B> runner({device, weights}, image_token, memory, std::move(graph_rows));
  std::map<RequestId, Sampler> samplers;
  for (const SamplingParams& rule : every_rule()) {
    const RequestId id = samplers.size() + 1;
    const Batch prompt = random_prompt<Model>(static_cast<unsigned>(id % 4));
    scheduler.add({.id = id,
                   .tokens = prompt.ids,
                   .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                   .max_tokens = 14});
    runner.begin(id, std::make_shared<Batch>(prompt), with_own_mask(rule));
    samplers.emplace(id, Sampler(with_own_mask(rule), prompt.ids, Model::vocab_size));
  }
  std::map<std::string, int> errors;
  int tokens = 0;
  while (scheduler.running() + scheduler.waiting() > 0) {
    runner.start(scheduler.plan(), images);
    const StepChoices choices = runner.finish();
    const std::vector<float> logits = runner.logits();
    auto row = logits.begin();
    for (const Chosen& chosen : choices.chosen) {
      CAPTURE(chosen.id);
      try {
        const Sampled want = samplers.at(chosen.id).next({row, row + Model::vocab_size});
        CHECK(chosen.token == want.token.id);
        CHECK(std::abs(chosen.logprob - want.token.logprob) < 1e-5);
        REQUIRE(chosen.top.size() == want.top.size());
        for (std::size_t i = 0; i < want.top.size(); ++i) CHECK(chosen.top[i].id == want.top[i].id);
        CHECK(chosen.error.empty());
        ++tokens;
      } catch (const Error& e) {
        CHECK(chosen.token < 0);
        CHECK(chosen.error == e.what());
        ++errors[chosen.error];
      }
      row += Model::vocab_size;
    }
    for (const Arrival& arrival : scheduler.received(choices)) {
      if (arrival.token < 0) scheduler.cancel(arrival.id);
      if (arrival.token < 0 || arrival.ended) runner.end(arrival.id);
    }
  }
  CHECK(tokens == 45 * 14 - 3 * (12 + 11));
  CHECK(errors["the mask gives up"] == 3);
  CHECK(errors[Sampler::nothing_left] == 3);
}

/// What each request gets if two steps are under way at once, or one: its tokens, then -1 for an error.
template <class Model, Real T, Backend B>
std::map<engine::RequestId, std::vector<int>> answers_to_rules(Device<B>& device, const Weights<Model, T, B>& weights,
                                                               std::vector<int> graph_rows, bool ahead,
                                                               bool batch_invariant = false) {
  using namespace engine;
  const SchedulerLimits limits{
      .rows = 6, .step_tokens = 24, .page_tokens = 16, .context_tokens = 128, .step_image_tokens = 24};
  const SessionLimits memory = session_limits(limits, 24);
  PagePool pool(memory.pages);
  ImageRows images(memory.image_blocks, memory.image_block_rows);
  Scheduler scheduler(limits, pool, images);
  Runner<Model, T, B> runner({device, weights}, image_token, memory, std::move(graph_rows), batch_invariant);
  std::map<RequestId, std::vector<int>> answers;
  RequestId id = 0;
  for (const SamplingParams& rule : every_rule()) {
    if (rule.logprobs) continue;  // the host draws: only one step may be under way
    const Batch prompt = random_prompt<Model>(static_cast<unsigned>(++id % 4));
    scheduler.add({.id = id,
                   .tokens = prompt.ids,
                   .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                   .max_tokens = 14});
    runner.begin(id, std::make_shared<Batch>(prompt), with_own_mask(rule));
  }
  for (int under_way = 0; under_way > 0 || scheduler.running() + scheduler.waiting() > 0;) {
    const StepPlan plan = scheduler.plan();
    if (!plan.empty()) runner.start(plan, images), ++under_way;
    for (; under_way > (ahead && !plan.empty() ? 1 : 0); --under_way)
      for (const Arrival& arrival : scheduler.received(runner.finish())) {
        answers[arrival.id].push_back(std::max(arrival.token, -1));
        if (arrival.token < 0) scheduler.cancel(arrival.id);
        if (arrival.token < 0 || arrival.ended) runner.end(arrival.id);
      }
  }
  return answers;
}

}  // namespace lamina::testing
