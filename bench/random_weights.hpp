#pragma once
#include <random>
#include <span>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/core/quantization/quantize.hpp>
#include <lamina/core/threads.hpp>

namespace lamina {

/// Matrices N(0, 0.02), norms 1; adapters as PEFT starts them, but B not zero, so that A has gradients.
template <class W>
void randomise(W& weights) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> block(3 << 20);
  for (float& v : block) v = normal(random);
  std::size_t next = 0;
  for (const TensorSlot& slot : weights.slots())
    weights.fill(slot, [&](std::span<std::byte> to) {
      const auto count = static_cast<std::size_t>(slot.spec.count());
      if (slot.quantization) {
        std::vector<float> w(count);
        for (std::size_t i = 0; i < count; ++i) w[i] = block[(next++) % block.size()];
        return quantize(slot.quantization, slot.spec.rows(), slot.spec.cols(), w.data(), to.data());
      }
      const bool ones = slot.spec.init == TensorSpec::Init::ones;
      constexpr std::size_t each = 1 << 16;
      parallel_for(static_cast<std::int64_t>((count + each - 1) / each), [&](std::int64_t part) {
        const std::size_t begin = static_cast<std::size_t>(part) * each;
        for (std::size_t i = begin; i < std::min(count, begin + each); ++i) {
          const float v = ones ? 1 : block[(next + i) % block.size()];
          if (slot.dtype == DType::BF16)
            reinterpret_cast<bf16*>(to.data())[i] = round_to<bf16>(v);
          else
            reinterpret_cast<float*>(to.data())[i] = v;
        }
      });
      if (!ones) next += count;
    });
}

/// One sequence of random tokens of text.
inline Batch random_prompt(int tokens) {
  std::mt19937 random(1);
  Batch prompt;
  for (int i = 0; i < tokens; ++i) prompt.ids.push_back(static_cast<int>(random() % 150000));
  prompt.cu_seqlens = {0, tokens};
  return prompt;
}

}  // namespace lamina
