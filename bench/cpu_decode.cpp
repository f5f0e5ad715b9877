// One stream of Qwen3-VL-2B's text on the CPU, random bf16 weights, greedy: bench_cpu_decode [CONTEXT] [ROUNDS].
// A round reads memory at full speed, then decodes eight tokens, so that both meet the same neighbours; prints each
// round and the medians. Decode is judged by what a token reads: weights and, at the middle of the run, its cache.
#include <chrono>
#include <cstdio>

#include <lamina/engine/single_sequence.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen3_vl/model.hpp>

#include <lamina/testing/roof.hpp>
#include "random_weights.hpp"

namespace {
double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}
int best_of(const std::vector<float>& logits) {
  return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}
}  // namespace

int main(int argc, char** argv) try {
  using namespace lamina;
  struct Model : fused_for<Cpu, qwen3_vl::Qwen3VL_2B> {};
  const int context = argc > 1 ? std::atoi(argv[1]) : 704, rounds = argc > 2 ? std::atoi(argv[2]) : 10, each = 8;
  using Decoding = engine::SingleSequence<Model, float, Cpu>;
  Device<Cpu> device;
  Weights<Model, float, Cpu> weights([](const TensorSpec&) {
    return Weights<Model, float, Cpu>::Choice{DType::BF16, 0, false};
  });
  weights.allocate(false, device.stream());
  randomise(weights);
  Decoding sequence(device, weights, 151655, context + rounds * each + 16);
  const Batch prompt = random_prompt(context);
  using clock = std::chrono::steady_clock;
  const auto seconds = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
  auto start = clock::now();
  int next = best_of(sequence.prefill(prompt));
  std::printf("prefill of %d: %.1f tokens/s\n", context, context / seconds(clock::now() - start));
  const auto step = [&] { next = best_of(sequence.decode(next)); };
  step();
  const double weight_bytes = 2.0 * param_count<Model::Language>,
               bytes = weight_bytes + (context + rounds * each / 2.0) *
                                          static_cast<double>(engine::RankRunner<Model, float, Cpu>::page_bytes(1));
  std::vector<double> roofs, rates;
  for (int round = 0; round < rounds; ++round) {
    roofs.push_back(testing::read_bytes_per_s_of(20));
    start = clock::now();
    for (int i = 0; i < each; ++i) step();
    rates.push_back(each / seconds(clock::now() - start));
    std::printf("%.2f tokens/s = %.1f of %.1f GB/s\n", rates.back(), rates.back() * bytes * 1e-9, roofs.back() * 1e-9);
  }
  const double rate = median(rates), roof = median(roofs);
  std::printf("decode: %.2f tokens/s = %.1f GB/s, %.0f %% of %.1f GB/s; weights alone %.0f %%\n", rate,
              rate * bytes * 1e-9, 100 * rate * bytes / roof, roof * 1e-9, 100 * rate * weight_bytes / roof);
} catch (const std::exception& e) {
  return std::fprintf(stderr, "bench_cpu_decode: %s\n", e.what()), 1;
}
