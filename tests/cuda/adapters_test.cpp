#include <map>

#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include "cuda/chosen_logits.hpp"
#include "cuda/gpu_run.hpp"
#include "engine/adapters/random_layers.hpp"
#include "engine/prompts.hpp"
#include "engine/session_limits.hpp"

/// Adapters that requests name, on a GPU.
using namespace lamina;
using namespace lamina::engine;
using namespace lamina::testing;

namespace {

constexpr int rows_with_adapters = 5, slots = 2, rank = 8;
const SchedulerLimits adapter_limits{.rows = rows_with_adapters,
                                     .step_tokens = 40,
                                     .page_tokens = 16,
                                     .context_tokens = 128,
                                     .step_image_tokens = 24,
                                     .adapter_slots = slots};
const SessionLimits adapter_memory = session_limits(adapter_limits, 60);

/// A runner with three adapters: on the decoder's q, on all layers, on the vision tower and the projector.
template <class Model, class T, class B>
struct AdaptedRunner {
  AdaptedRunner(Device<B>& device, const Weights<Model, T, B>& weights, std::vector<int> graph_rows, bool invariant)
      : memory(weights.slots(), tensor_count<typename Model::Visual>, slots, rank), runner([&] {
          memory.allocate({weights.parameters(), weights.slots().size()}, device.stream(), invariant);
          return std::make_unique<Runner<Model, T, B>>(RunnerParts<Model, T, B>{device, weights, &memory}, image_token,
                                                       adapter_memory, graph_rows, invariant);
        }()) {
    const std::vector<std::string_view> where = {"q_proj", "", "visual"};
    for (unsigned i = 0; i < 3; ++i)
      adapters.push_back(memory.prepare(std::string(1, static_cast<char>('a' + i)),
                                        random_layers<Model>(where[i], rank - static_cast<int>(i), i + 1)));
  }
  /// A plan of another runner's adapters, with the same ones of this runner.
  StepPlan own(StepPlan plan) const {
    for (AdapterLoad& load : plan.adapters)
      for (const auto& adapter : adapters)
        if (adapter->name == load.adapter->name) load.adapter = adapter;
    return plan;
  }
  AdapterMemory<T, B> memory;
  std::unique_ptr<Runner<Model, T, B>> runner;
  std::vector<std::shared_ptr<const LoadedAdapter>> adapters;
};

/// The model's weights with the rows that a session gives its adapters.
template <class Model, class T>
auto weights_of_session() {
  return gpu_weights<Model, T>(
      [](auto) { return false; },
      [](const TensorSpec& tensor) { return AdapterMemory<T, Cuda>::rows_below(tensor, {}, slots, rank); });
}

/// Root mean square distance of logits in T on the GPU from fp32 on the CPU, of requests that share steps.
template <class Model, class T>
struct AdaptedDistances {
  double base = 0, adapted = 0;

  AdaptedDistances() {
    struct OnGpu : fused_for<Cuda, Model> {};
    Device<Cpu> host;
    const auto exact_weights = rule_weights<Model>([](auto) { return false; });
    const auto weights = weights_of_session<OnGpu, T>();
    AdaptedRunner<Model, float, Cpu> exact(host, *exact_weights, {}, false);
    AdaptedRunner<OnGpu, T, Cuda> gpu(gpu_device(), *weights, {1, 2, 5}, false);
    PagePool pool(adapter_memory.pages);
    ImageRows images(adapter_memory.image_blocks, adapter_memory.image_block_rows);
    Scheduler scheduler(adapter_limits, pool, images);
    for (RequestId id = 1; id <= 16; ++id) {
      const Batch prompt = random_prompt<Model>(static_cast<unsigned>(id));
      scheduler.add({.id = id,
                     .tokens = prompt.ids,
                     .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                     .max_tokens = 8,
                     .adapter = id % 4 == 0 ? nullptr : exact.adapters[id % 4 - 1]});
      const auto shared = std::make_shared<Batch>(prompt);
      exact.runner->begin(id, shared, {.temperature = 0}), gpu.runner->begin(id, shared, {.temperature = 0});
    }
    std::array<double, 2> sum_sq{};
    std::array<int, 2> rows{};
    while (scheduler.running() + scheduler.waiting() > 0) {
      const StepPlan plan = scheduler.plan();
      exact.runner->start(plan, images), gpu.runner->start(gpu.own(plan), images);
      const StepChoices choices = exact.runner->finish();
      gpu.runner->finish();
      const std::vector<float> want = exact.runner->logits(), got = gpu.runner->logits();
      std::size_t n = 0;
      for (const StepRow& row : plan.rows) {
        if (!row.samples) continue;
        const auto of = [&](const std::vector<float>& logits) {
          return std::span(logits).subspan(n * Model::vocab_size, Model::vocab_size);
        };
        const double distance = relative_error(of(got), of(want));
        sum_sq[row.adapter_slot >= 0] += distance * distance;
        ++rows[row.adapter_slot >= 0];
        gpu.runner->set_newest(row.row, choices.chosen[n++].token);  // both go on with the same token
      }
      scheduler.received(choices);
    }
    base = std::sqrt(sum_sq[0] / rows[0]), adapted = std::sqrt(sum_sq[1] / rows[1]);
  }
};

template <class Model, class T>
void check_adapted_distance(const char* name) {
  const AdaptedDistances<Model, T> distances;
  std::cout << name << ": logits of the base are " << distances.base << " from fp32, of adapters " << distances.adapted
            << "\n";
  // Where the base's product is rounded once, t, the base's share of y and y are.
  CHECK(distances.adapted <= 3 * distances.base);
}

/// The logits of every token that a request chooses, by request, of requests that share steps or that come one by one.
template <class Model>
std::map<RequestId, std::vector<float>> adapted_logits(bool one_by_one) {
  struct OnGpu : fused_for<Cuda, Model> {};
  const auto weights = weights_of_session<OnGpu, bf16>();
  AdaptedRunner<OnGpu, bf16, Cuda> gpu(gpu_device(), *weights, {1, 2, 5}, true);
  return chosen_logits<Model>(*gpu.runner, adapter_limits, adapter_memory, one_by_one,
                              [&](RequestId id) { return id % 4 == 0 ? nullptr : gpu.adapters[id % 4 - 1]; });
}

}  // namespace

TEST_CASE("Adapters on a GPU: logits are about as near to fp32 as the base model's, in recorded steps too") {
  SECTION("qwen3_vl, bf16") { check_adapted_distance<qwen3_vl::Qwen3VL_Tiny, bf16>("qwen3_vl, bf16"); }
  SECTION("qwen2_5_vl, fp16") { check_adapted_distance<qwen2_5_vl::Qwen2_5VL_Tiny, f16>("qwen2_5_vl, fp16"); }
}

TEST_CASE("Adapters on a GPU: batch-invariant logits do not depend on the adapters of other requests") {
  if (gpu_device().gpu().compute_capability() != 90) return;  // elsewhere a session refuses batch_invariant
  gpu_device().set_batch_invariant(true);
  const auto alone = adapted_logits<qwen3_vl::Qwen3VL_Tiny>(true),
             together = adapted_logits<qwen3_vl::Qwen3VL_Tiny>(false);
  gpu_device().set_batch_invariant(false);
  CHECK(alone.size() == 12);
  CHECK(alone == together);
}
