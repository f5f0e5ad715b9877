// The engine's steps on the GPU without a server: random weights, random prompts, greedy.
//
//     bench_gpu_engine 2b|8b|8b_of_2 USERS PROMPT OUTPUT [ROUNDS [trace|nccl|ADAPTERS]]
//
// ADAPTERS: so many adapters of rank 16 on every linear layer, one for each request in turn.
// 8b_of_2: two GPUs share the model; start it twice, as two ranks (torchrun --no-python --nproc-per-node 2). nccl:
// their sums go through NCCL alone. Figures and the trace are those of rank 0. Keeps USERS requests in flight until
// ROUNDS * USERS have been answered. Prints tokens per second, the time of a step, how much of it the host works, and
// decode's share of the memory's read bandwidth at the mean length of a sequence. The peer is shared by serving
// benchmarks: see bench/RESULTS.md.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>

#include <lamina/engine/schedule/scheduler.hpp>
#include <lamina/engine/step/follow.hpp>
#include <lamina/engine/step/runner.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cuda.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/parallel/open_group.hpp>

#include "../random_weights.hpp"
#include "trace.hpp"

namespace {
using namespace lamina;
using Clock = std::chrono::steady_clock;
double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

struct Load {
  int users, prompt, output, rounds;
  bool trace, nccl;
  int adapters;
};

/// Random matrices of rank 16 for every linear layer.
template <class Model>
checkpoint::AdapterLayers random_layers() {
  checkpoint::AdapterLayers layers;
  std::mt19937 random(3);
  for (const TensorSpec& spec : list_tensors<Model>()) {
    if (!spec.takes_row_terms) continue;
    checkpoint::AdapterLayer layer{.rank = 16, .scale = 1, .a = {}, .b = {}};
    layer.a.resize(static_cast<std::size_t>(16 * spec.cols())),
        layer.b.resize(static_cast<std::size_t>(16 * spec.rows()));
    for (auto* values : {&layer.a, &layer.b})
      for (float& x : *values) x = 0.02f * (static_cast<float>(random() >> 8) * 0x1p-23f - 1);
    layers[checkpoint::module_of(std::string(spec.path.view()))] = std::move(layer);
  }
  return layers;
}

engine::SessionLimits limits_for(const Load& load) {
  const int context = load.prompt + load.output + 16, rows = std::max(load.users, 1);
  return {.rows = rows,
          .step_tokens = std::max(8192, rows),
          .context_tokens = context,
          .step_image_tokens = 64,
          .pages = (rows + 1) * ((context + 63) / 64),
          .page_tokens = 64,
          .image_blocks = 2,
          .image_block_rows = 64,
          .adapter_slots = load.adapters};
}

template <class Base>
void run(const Load& load, parallel::Group& group) {
  struct Model : fused_for<Cuda, Base> {};
  if (group.size() != rank_count<Model>) fail(group.size(), " processes, wanted ", rank_count<Model>);
  using Runner = engine::Runner<Model, bf16, Cuda>;
  using Rank = engine::RankRunner<Model, bf16, Cuda>;
  Device<Cuda> device(group.place().local_rank);
  parallel::DeviceGroup<Cuda> ranks(group, load.nccl ? 0 : parallel::PeerMemory::useful_bytes(group.size()));
  Weights<Model, bf16, Cuda> weights([](const TensorSpec&) {
    return typename Weights<Model, bf16, Cuda>::Choice{DType::BF16, 0, false};
  });
  weights.allocate(false, device.stream());
  randomise(weights);
  engine::AdapterMemory<bf16, Cuda> memory(weights.slots(), tensor_count<typename Model::Visual>, load.adapters, 16);
  memory.allocate({weights.parameters(), weights.slots().size()}, device.stream());
  std::vector<std::shared_ptr<const engine::LoadedAdapter>> adapters;
  for (int i = 0; i < load.adapters; ++i) adapters.push_back(memory.prepare("random", random_layers<Model>()));
  const engine::SessionLimits limits = limits_for(load);
  engine::PagePool pages(limits.pages);
  engine::ImageRows images(limits.image_blocks, limits.image_block_rows);
  engine::Scheduler scheduler({.rows = limits.rows,
                               .step_tokens = limits.step_tokens,
                               .page_tokens = limits.page_tokens,
                               .context_tokens = limits.context_tokens,
                               .step_image_tokens = limits.step_image_tokens,
                               .adapter_slots = load.adapters},
                              pages, images);
  const engine::RunnerParts<Model, bf16, Cuda> parts{device, weights, load.adapters > 0 ? &memory : nullptr,
                                                     group.size() > 1 ? &ranks : nullptr};
  if (!group.first()) {
    Rank rank(parts, limits, false);
    return engine::follow(rank);
  }
  Runner runner(parts, 151655, limits, {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256});

  engine::RequestId id = 0;
  std::mt19937 random(1);
  const auto add = [&] {
    auto prompt = std::make_shared<Batch>();
    for (int i = 0; i < load.prompt; ++i) prompt->ids.push_back(static_cast<int>(random() % 150000));
    prompt->cu_seqlens = {0, load.prompt};
    auto adapter = adapters.empty() ? nullptr : adapters[id % adapters.size()];
    scheduler.add({.id = ++id, .tokens = prompt->ids, .max_tokens = load.output, .adapter = std::move(adapter)});
    runner.begin(id, prompt, {.temperature = 0});
  };
  const auto serve = [&](int requests) {
    int asked = 0, answered = 0, under_way = 0;
    std::int64_t tokens = 0, steps = 0;
    double host_s = 0, first_s = 0;
    for (; asked < std::min(requests, load.users); ++asked) add();
    const auto start = Clock::now();
    while (answered < requests) {
      const auto work = Clock::now();
      const engine::StepPlan plan = scheduler.plan();
      if (!plan.empty()) runner.start(plan, images), ++under_way, ++steps;
      host_s += seconds(Clock::now() - work);
      if (under_way < 2 && !plan.empty()) continue;
      const engine::StepChoices result = runner.finish();
      --under_way;
      const auto arrived = Clock::now();
      if (tokens == 0 && !result.chosen.empty()) first_s = seconds(arrived - start);
      for (const engine::Arrival& arrival : scheduler.received(result)) {
        ++tokens;
        if (!arrival.ended) continue;
        runner.end(arrival.id);
        ++answered;
        if (asked < requests) add(), ++asked;
      }
      host_s += seconds(Clock::now() - arrived);
    }
    while (under_way > 0) scheduler.received(runner.finish()), --under_way;
    const double s = seconds(Clock::now() - start);
    return std::array{static_cast<double>(tokens) / s, 1e3 * s / static_cast<double>(steps),
                      1e6 * host_s / static_cast<double>(steps), 1e3 * first_s};
  };
  std::optional<GpuTrace> trace;
  if (load.trace) trace.emplace();
  serve(load.users);  // loads kernels, records steps
  if (trace) device.wait(), trace->restart();
  const auto [rate, step_ms, host_us, first_ms] = serve(load.rounds * load.users);
  const double bytes = 2.0 * param_count<typename Model::Language> +
                       load.users * (load.prompt + load.output / 2.0) * static_cast<double>(Rank::page_bytes(64)) / 64;
  std::printf("%d users, %d/%d: %.0f tokens/s, %.3f ms a step, host %.0f us a step, first token %.1f ms, %.2f TB/s\n",
              load.users, load.prompt, load.output, rate, step_ms, host_us, first_ms, bytes / (step_ms * 1e-3) / 1e12);
  if (!trace) return;
  device.wait();
  const auto seen = trace->summary();
  std::printf("busy %.1f of %.1f ms, %zu launches\n", seen.busy_ms, seen.elapsed_ms, seen.launches);
  for (const auto& kernel : trace->by_kernel())
    if (kernel.ms > 0.003 * seen.busy_ms)
      std::printf("%8.2f ms %7zu launches %7.2f us  %.100s\n", kernel.ms, kernel.launches,
                  1e3 * kernel.ms / static_cast<double>(kernel.launches), kernel.name.c_str());
  std::printf("two layers of a step, kernel by kernel: from, to (us)\n");
  for (const auto& launch : trace->excerpt(18))
    std::printf("%8.2f %8.2f  %.100s\n", launch.start, launch.end, launch.name.c_str());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 5)
    return std::fprintf(stderr,
                        "usage: bench_gpu_engine 2b|8b|8b_of_2 USERS PROMPT OUTPUT [ROUNDS [trace|nccl|ADAPTERS]]\n"),
           2;
  const Load load{std::atoi(argv[2]),
                  std::atoi(argv[3]),
                  std::atoi(argv[4]),
                  argc > 5 ? std::atoi(argv[5]) : 2,
                  argc > 6 && std::strcmp(argv[6], "trace") == 0,
                  argc > 6 && std::strcmp(argv[6], "nccl") == 0,
                  argc > 6 ? std::atoi(argv[6]) : 0};
  const parallel::OpenedGroup opened = parallel::open_group(parallel::find_launch(), 600, "");
  if (std::strcmp(argv[1], "8b") == 0)
    run<qwen3_vl::Qwen3VL_8B>(load, *opened.group);
  else if (std::strcmp(argv[1], "8b_of_2") == 0)
    run<Sharded<qwen3_vl::Qwen3VL_8B, 2>>(load, *opened.group);
  else
    run<qwen3_vl::Qwen3VL_2B>(load, *opened.group);
} catch (const std::exception& e) {
  return std::fprintf(stderr, "bench_gpu_engine: %s\n", e.what()), 1;
}
