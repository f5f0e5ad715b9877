// One stream of Qwen3-VL-2B on the GPU, random weights, greedy: bench_gpu_decode [CONTEXT] [TOKENS]. Prints the rate of
// prefill and decode, and decode's share of the memory's read bandwidth. The peer is gpu_peer.py --case decode.
#include <chrono>
#include <cstdio>

#include <lamina/fuse.hpp>
#include <lamina/kernel/cuda.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/serve/decoder.hpp>

#include "random_weights.hpp"

int main(int argc, char** argv) try {
  using namespace lamina;
  struct Model : fused_for<Cuda, qwen3_vl::Qwen3VL_2B> {};
  const int context = argc > 1 ? std::atoi(argv[1]) : 1024, tokens = argc > 2 ? std::atoi(argv[2]) : 200;
  Device<Cuda> device;
  Weights<Model, bf16, Cuda> weights([](const TensorSpec&) {
    return Weights<Model, bf16, Cuda>::Choice{DType::BF16, 0, false};
  });
  weights.allocate(false, device.stream());
  randomise(weights);
  serve::Decoder<Model, bf16, Cuda> decoder(device, weights, 151655, context + tokens + 16);
  const Batch prompt = random_prompt(context);
  using clock = std::chrono::steady_clock;
  const auto seconds = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
  decoder.choose_first(prompt, {});  // loads kernels
  auto start = clock::now();
  decoder.choose_first(prompt, {});
  const double prefill_s = seconds(clock::now() - start);
  for (int i = 0; i < 4; ++i) decoder.choose_next();
  start = clock::now();
  for (int i = 0; i < tokens; ++i) decoder.choose_next();
  const double token_s = seconds(clock::now() - start) / tokens;
  const double bytes =
      2.0 * (param_count<Model::Language> + 0.0) + serve::Decoder<Model, bf16, Cuda>::cache_bytes(context + tokens / 2);
  std::printf("decode: %.1f tokens/s, %.3f ms a token, %.2f TB/s of weights and cache; prefill of %d: %.0f tokens/s\n",
              1 / token_s, 1e3 * token_s, bytes / token_s / 1e12, context, context / prefill_s);
} catch (const std::exception& e) {
  return std::fprintf(stderr, "bench_gpu_decode: %s\n", e.what()), 1;
}
