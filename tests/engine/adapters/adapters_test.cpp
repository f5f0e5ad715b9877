#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/engine/single_sequence.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include "engine/adapters/random_layers.hpp"
#include "engine/prompts.hpp"
#include "engine/session_limits.hpp"
#include "model/parity.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::engine;
using namespace lamina::testing;
using checkpoint::AdapterLayer;
using checkpoint::AdapterLayers;

namespace {

struct Qwen3 : fused_for<Cpu, qwen3_vl::Qwen3VL_Tiny> {};
struct Qwen2_5 : fused_for<Cpu, qwen2_5_vl::Qwen2_5VL_Tiny> {};
constexpr int slots = 2, rank = 4;

template <class Model>
AdapterMemory<float, Cpu> adapter_memory(const Weights<Model, float, Cpu>& weights) {
  return {weights.slots(), tensor_count<typename Model::Visual>, slots, rank};
}

/// The model's weights with an adapter folded in.
template <class Model>
std::unique_ptr<Weights<Model, float>> folded(const AdapterLayers& layers) {
  auto weights = rule_weights<Model>([](auto) { return false; });
  for (const TensorSlot& slot : weights->slots())
    if (const auto layer = layers.find(checkpoint::module_of(slot.name()));
        layer != layers.end() && slot.spec.rank == 2)
      checkpoint::fold_adapter(layer->second, static_cast<std::size_t>(slot.spec.cols()), 0,
                               {static_cast<float*>(weights->data(slot)), static_cast<std::size_t>(slot.spec.count())});
  return weights;
}

/// Requests of the base model and of several adapters, some with images, run together; each of them alone is answered
/// by weights with its adapter folded in.
/// rows_below: of every linear layer's matrix.
template <class Model>
void each_gets_its_own_adapter(int rows_below) {
  const SchedulerLimits limits{.rows = 5,
                               .step_tokens = 40,
                               .page_tokens = 16,
                               .context_tokens = 128,
                               .step_image_tokens = 24,
                               .adapter_slots = slots};
  constexpr int pages = 60;
  Device<Cpu> device;
  const auto weights = rule_weights<Model>(
      [](auto) { return false; }, [&](const TensorSpec& tensor) { return tensor.takes_row_terms ? rows_below : 0; });
  AdapterMemory<float, Cpu> memory = adapter_memory(*weights);
  memory.allocate({weights->parameters(), weights->slots().size()}, {});
  PagePool pool(pages);
  ImageRows images(6, 8);
  Scheduler scheduler(limits, pool, images);
  Runner<Model> runner({device, *weights, &memory}, image_token, session_limits(limits, pages));
  const std::vector<AdapterLayers> adapters = {{},
                                               random_layers<Model>("q_proj", rank, 1),
                                               random_layers<Model>("", rank - 1, 2),
                                               random_layers<Model>("visual", rank, 3)};
  std::vector<std::shared_ptr<const LoadedAdapter>> prepared = {nullptr};
  for (std::size_t i = 1; i < adapters.size(); ++i) prepared.push_back(memory.prepare("a", adapters[i]));
  std::map<RequestId, std::vector<int>> answers;
  std::map<RequestId, Batch> prompts;
  for (RequestId id = 1; id <= 24; ++id) {
    const Batch prompt = random_prompt<Model>(static_cast<unsigned>(id % 6));
    scheduler.add({.id = id,
                   .tokens = prompt.ids,
                   .images = spans_of(prompt, Model::visual_tokens, Model::patch_width),
                   .max_tokens = 7,
                   .adapter = prepared[id % 4]});
    runner.begin(id, std::make_shared<Batch>(prompt), {.temperature = 0});
    prompts[id] = prompt;
  }
  std::size_t most_together = 0;
  while (scheduler.running() + scheduler.waiting() > 0) {
    const StepPlan plan = scheduler.plan();
    std::set<int> together;
    for (const StepRow& row : plan.rows) together.insert(row.adapter_slot);
    most_together = std::max(most_together, together.size());
    runner.start(plan, images);
    for (const Arrival& arrival : scheduler.received(runner.finish())) answers[arrival.id].push_back(arrival.token);
  }
  CHECK(scheduler.idle());
  CHECK(most_together == 1 + slots);
  int changed = 0;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    const auto own_weights = folded<Model>(adapters[i]);
    SingleSequence<Model> alone(device, *own_weights, image_token, limits.context_tokens);
    SingleSequence<Model> base(device, *weights, image_token, limits.context_tokens);
    for (const auto& [id, prompt] : prompts) {
      if (id % 4 != i) continue;
      INFO("request " << id << " of adapter " << i);
      std::vector<int> want = {best_of(alone.prefill(prompt))};
      while (want.size() < 7) want.push_back(best_of(alone.decode(want.back())));
      CHECK(answers[id] == want);
      changed += best_of(base.prefill(prompt)) != want.front();
    }
  }
  CHECK(changed > 3);  // the adapters are no zeros
}

}  // namespace

TEMPLATE_TEST_CASE("Adapters: requests in one batch get the answers of their own adapters, on every part of the model",
                   "", Qwen3, Qwen2_5, qwen3_vl::Qwen3VL_Tiny) {
  each_gets_its_own_adapter<TestType>(0);
}

TEMPLATE_TEST_CASE("Adapters: they may lie below the model's own matrices", "", Qwen3, Qwen2_5,
                   qwen3_vl::Qwen3VL_Tiny) {
  const auto weights = rule_weights<TestType>(
      [](auto) { return false; }, [](const TensorSpec& tensor) { return tensor.takes_row_terms ? slots * rank : 0; });
  const auto without = rule_weights<TestType>([](auto) { return false; });
  CHECK(adapter_memory(*weights).bytes() < adapter_memory(*without).bytes());
  each_gets_its_own_adapter<TestType>(slots * rank);
}

TEST_CASE("Adapters: memory is planned, and a model without adapters has none") {
  const auto weights = rule_weights<Qwen3>([](auto) { return false; });
  std::size_t elements = 0;
  for (const TensorSpec& spec : list_tensors<Qwen3>())
    if (spec.takes_row_terms)
      elements += static_cast<std::size_t>(slots * rank * (spec.rows() + (spec.cols() + 7) / 8 * 8));
  const std::size_t bytes = adapter_memory(*weights).bytes();
  CHECK(bytes >= elements * sizeof(float));
  CHECK(bytes < elements * sizeof(float) + 2 * Arena::alignment * weights->slots().size());
  CHECK(AdapterMemory<float, Cpu>(weights->slots(), 0, 0, rank).bytes() == 0);
}

TEST_CASE("Adapters: they go to every linear layer but the output head") {
  int linears = 0;
  for (const TensorSpec& spec : list_tensors<Qwen2_5>())
    if (spec.takes_row_terms) {
      ++linears;
      CHECK(std::string(spec.path.view()).find("lm_head") == std::string::npos);
      CHECK(std::string(spec.path.view()).ends_with(".weight"));
    }
  int trained = 0;
  for (const TensorSpec& spec : list_tensors<LoRA<qwen2_5_vl::Qwen2_5VL_Tiny, Rank<1>, Alpha<1>, AllLinears>>())
    trained += spec.added;
  CHECK(linears == trained / 2);
}

TEST_CASE("Adapters: one that does not fit is refused with the layer's name") {
  const auto weights = rule_weights<Qwen3>([](auto) { return false; });
  const auto memory = adapter_memory(*weights);
  const std::string layer = "model.language_model.layers.0.self_attn.q_proj";
  const auto refused = [&](const AdapterLayers& layers) { return error_of([&] { memory.prepare("a", layers); }); };
  AdapterLayers good = random_layers<Qwen3>(layer, rank, 1);
  REQUIRE(good.size() == 1);
  CHECK(memory.prepare("a", good)->modules == 1);
  CHECK(!memory.prepare("a", good)->encodes_images);
  CHECK(memory.prepare("a", random_layers<Qwen3>("visual", rank, 1))->encodes_images);
  CHECK(memory.prepare("a", good)->id != memory.prepare("a", good)->id);

  const std::string too_large = refused(random_layers<Qwen3>(layer, rank + 1, 1));
  CHECK(too_large.find(layer + ": the adapter's rank is 5") != std::string::npos);
  CHECK(too_large.find("at most 4") != std::string::npos);
  AdapterLayers wide = good;
  wide[layer].a.resize(wide[layer].a.size() + rank);
  CHECK(refused(wide).find(layer + ": the adapter's matrices are for a layer of") != std::string::npos);
  AdapterLayers broken = good;
  broken[layer].b[3] = std::numeric_limits<float>::infinity();
  CHECK(refused(broken).find(layer + ": the adapter has an element of inf") != std::string::npos);
  AdapterLayers unknown = good;
  unknown["model.language_model.layers.99.mlp.up_proj"] = good[layer];
  unknown["lm_head"] = good[layer];
  CHECK(refused(unknown).find("2 modules that are no linear layers of this model: lm_head, ") != std::string::npos);
}
