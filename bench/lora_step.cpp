// A LoRA step of qwen3_vl_tiny on the CPU, the same work as bench/peer_tiny_lora.py does: 8 samples of one 256 x 256
// image (64 tokens) and 60 text tokens, 30 of them labelled; rank 8 on every linear of the decoder, frozen vision
// tower, fp32, AdamW, clipping. Prints a JSON line: best and median of the steps after two to warm up.
//
//     OMP_NUM_THREADS=2 build/bin/bench_lora_step MODEL_DIR [STEPS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <lamina/core/threads.hpp>
#include <lamina/model/open_model.hpp>
#include <lamina/testing/deterministic_weights.hpp>

using namespace lamina;

namespace {

constexpr int samples = 8, before = 8, image_tokens = 64, after = 50, labelled = 30, image_pad = 4082,
              vision_start = 4079, vision_end = 4080;

Batch window() {
  Batch batch;
  batch.cu_seqlens = {0};
  for (int s = 0; s < samples; ++s) {
    const auto text = [&](int n) {
      for (int i = 0; i < n; ++i) batch.ids.push_back(static_cast<int>(testing::splitmix64(batch.ids.size()) % 4000));
    };
    text(before);
    batch.ids.push_back(vision_start);
    batch.ids.insert(batch.ids.end(), image_tokens, image_pad);
    batch.ids.push_back(vision_end);
    text(after);
    batch.labels.resize(batch.ids.size(), ignored_label);
    batch.loss_weights.resize(batch.ids.size(), 0.0f);
    for (std::size_t i = batch.ids.size() - labelled; i < batch.ids.size(); ++i) {
      batch.labels[i] = batch.ids[i];
      batch.loss_weights[i] = 1.0f / (labelled * samples);
    }
    batch.grids.push_back({1, 16, 16});
    batch.cu_seqlens.push_back(static_cast<int>(batch.ids.size()));
  }
  batch.patches.resize(static_cast<std::size_t>(samples) * 256 * 1536);
  testing::fill_deterministic("pixels.bench", std::vector<std::int64_t>{samples * 256, 1536}, batch.patches);
  return batch;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: bench_lora_step MODEL_DIR [STEPS]\n"), 2;
  const int steps = argc > 2 ? std::atoi(argv[2]) : 20;
  const auto session = open_for_training(argv[1], TrainableOptions{});
  const Batch batch = window();
  std::vector<double> seconds;
  double first = 0, last = 0;
  for (int i = 0; i < steps + 2; ++i) {
    const auto start = std::chrono::steady_clock::now();
    last = session->step(batch, {.learning_rate = 1e-4}, 1).loss.loss;
    if (i == 0) first = last;
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin() + 2, seconds.end());
  const double best = seconds[2], median = seconds[2 + static_cast<std::size_t>(steps) / 2];
  std::printf(
      "{\"ours\": \"lamina\", \"threads\": %d, \"step_ms\": %.1f, \"median_step_ms\": %.1f, \"samples_per_s\": %.2f, "
      "\"first_loss\": %.5f, \"last_loss\": %.5f}\n",
      thread_count(), 1e3 * best, 1e3 * median, samples / best, first, last);
}
