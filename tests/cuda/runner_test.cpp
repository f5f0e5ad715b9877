#include <map>

#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/engine/single_sequence.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include "cuda/chosen_logits.hpp"
#include "cuda/gpu_run.hpp"
#include "engine/prompts.hpp"
#include "engine/session_limits.hpp"
#include "engine/step/every_rule.hpp"

using namespace lamina;
using namespace lamina::engine;
using namespace lamina::testing;

namespace {

/// Steps so small that prompts are cut and images wait for each other.
constexpr int step_tokens = 24, context_tokens = 128, page_tokens = 16, rows_at_once = 5;
const SchedulerLimits limits{.rows = rows_at_once,
                             .step_tokens = step_tokens,
                             .page_tokens = page_tokens,
                             .context_tokens = context_tokens,
                             .step_image_tokens = step_tokens};

/// Root mean square distance of logits in T on the GPU from fp32 on the CPU: of a runner whose steps mix prompts'
/// chunks with decoding, and of prompts that are read alone.
template <class Model, class T>
struct Distances {
  double together = 0, alone = 0;

  Distances() {
    struct OnGpu : fused_for<Cuda, Model> {};
    Device<Cpu> host;
    const auto exact = rule_weights<Model>([](auto) { return false; });
    const auto weights = gpu_weights<OnGpu, T>([](auto) { return false; });
    SingleSequence<Model> exact_alone(host, *exact, image_token, 128);
    SingleSequence<OnGpu, T, Cuda> gpu_alone(gpu_device(), *weights, image_token, 128);
    const SessionLimits memory = session_limits(limits, 20);
    PagePool pool(memory.pages);
    ImageRows images(memory.image_blocks, memory.image_block_rows);
    Scheduler scheduler(limits, pool, images);
    Runner<Model> exact_runner({host, *exact}, image_token, memory);
    Runner<OnGpu, T, Cuda> runner({gpu_device(), *weights}, image_token, memory, {1, 2, 5});
    double together_sq = 0, alone_sq = 0;
    int rows = 0;
    constexpr int prompts = 12;
    for (RequestId id = 1; id <= prompts; ++id) {
      const Batch prompt = random_prompt<Model>(static_cast<unsigned>(id));
      scheduler.add({.id = id,
                     .tokens = prompt.ids,
                     .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                     .max_tokens = 8});
      const auto shared = std::make_shared<Batch>(prompt);
      exact_runner.begin(id, shared, {.temperature = 0}), runner.begin(id, shared, {.temperature = 0});
      alone_sq += square(relative_error(gpu_alone.prefill(prompt), exact_alone.prefill(prompt)));
    }
    while (scheduler.running() + scheduler.waiting() > 0) {
      const StepPlan plan = scheduler.plan();
      exact_runner.start(plan, images), runner.start(plan, images);
      const StepChoices choices = exact_runner.finish();
      runner.finish();
      const std::vector<float> want = exact_runner.logits(), got = runner.logits();
      std::size_t n = 0;
      for (const StepRow& row : plan.rows) {
        if (!row.samples) continue;
        const auto of = [&](const std::vector<float>& logits) {
          return std::span(logits).subspan(n * Model::vocab_size, Model::vocab_size);
        };
        together_sq += square(relative_error(of(got), of(want)));
        ++rows;
        runner.set_newest(row.row, choices.chosen[n++].token);  // both go on with the same token
      }
      scheduler.received(choices);
    }
    together = std::sqrt(together_sq / rows), alone = std::sqrt(alone_sq / prompts);
  }
  static double square(double x) { return x * x; }
};

template <class Model, class T>
void check_distance(const char* name) {
  const Distances<Model, T> distances;
  std::cout << name << ": logits among others are " << distances.together << " from fp32, alone " << distances.alone
            << "\n";
  CHECK(distances.together <= 1.25 * distances.alone);  // other prompts and tokens: a quarter for their spread
}

/// The logits of every token that a request chooses, by request, of requests that share steps or that come one by one.
template <class Model>
std::map<RequestId, std::vector<float>> all_logits(bool one_by_one) {
  struct OnGpu : fused_for<Cuda, Model> {};
  const auto weights = gpu_weights<OnGpu, bf16>([](auto) { return false; });
  const SessionLimits memory = session_limits(limits, 40);
  Runner<OnGpu, bf16, Cuda> runner({gpu_device(), *weights}, image_token, memory, {1, 2, 5}, true);
  return chosen_logits<Model>(runner, limits, memory, one_by_one, [](RequestId) { return nullptr; });
}

template <class Model>
void check_invariant() {
  if (gpu_device().gpu().compute_capability() != 90) return;  // elsewhere a session refuses batch_invariant
  gpu_device().set_batch_invariant(true);
  const auto alone = all_logits<Model>(true), together = all_logits<Model>(false);
  gpu_device().set_batch_invariant(false);
  CHECK(alone.size() == 12);
  CHECK(alone == together);
}

template <class T>
void check_every_rule_in() {
  struct OnGpu : fused_for<Cuda, qwen3_vl::Qwen3VL_Tiny> {};
  const auto weights = gpu_weights<OnGpu, T>([](auto) { return false; });
  check_every_rule(gpu_device(), *weights, {1, 2, 4, 6});
}

/// Where the steps of a request read different company, only batch-invariant answers can be compared.
void check_rules_ahead() {
  if (gpu_device().gpu().compute_capability() != 90) return;  // elsewhere a session refuses batch_invariant
  struct OnGpu : fused_for<Cuda, qwen3_vl::Qwen3VL_Tiny> {};
  const auto weights = gpu_weights<OnGpu, bf16>([](auto) { return false; });
  gpu_device().set_batch_invariant(true);
  const auto ahead = answers_to_rules(gpu_device(), *weights, {1, 2, 4, 6}, true, true),
             in_turn = answers_to_rules(gpu_device(), *weights, {1, 2, 4, 6}, false, true);
  gpu_device().set_batch_invariant(false);
  CHECK(ahead == in_turn);
}

}  // namespace

TEST_CASE("Runner on a GPU: a step that starts before the tokens of the one before are known obeys the same rules") {
  check_rules_ahead();
}

TEST_CASE("Runner on a GPU: a request with any rules gets the tokens that a Sampler draws of the same logits") {
  SECTION("bf16") { check_every_rule_in<bf16>(); }
  SECTION("fp16") { check_every_rule_in<f16>(); }
}

TEST_CASE("Runner on a GPU: batch-invariant logits do not depend on what else a step reads") {
  SECTION("qwen3_vl") { check_invariant<qwen3_vl::Qwen3VL_Tiny>(); }
  SECTION("qwen2_5_vl") { check_invariant<qwen2_5_vl::Qwen2_5VL_Tiny>(); }
}

TEST_CASE("Runner on a GPU: logits of mixed steps are as near to fp32 as those of prompts read alone") {
  SECTION("qwen3_vl, bf16") { check_distance<qwen3_vl::Qwen3VL_Tiny, bf16>("qwen3_vl, bf16"); }
  SECTION("qwen3_vl, fp16") { check_distance<qwen3_vl::Qwen3VL_Tiny, f16>("qwen3_vl, fp16"); }
  SECTION("qwen2_5_vl, bf16") { check_distance<qwen2_5_vl::Qwen2_5VL_Tiny, bf16>("qwen2_5_vl, bf16"); }
}
