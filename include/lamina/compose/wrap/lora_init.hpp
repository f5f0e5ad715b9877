#pragma once
#include <cstdint>
#include <span>

#include <lamina/core/random/torch.hpp>

namespace lamina {

/// The initial lora_A (rank, in) of one adapted linear as PEFT draws it; lora_B is zero. PEFT makes both matrices with
/// nn.Linear, whose own draws (rank * in, then out * rank) are thrown away, and then draws A again. One generator,
/// seeded with the run's seed, serves the adapted linears in the order of the module tree: the vision tower (blocks,
/// then merger, then deepstack mergers) before the decoder; q k v o gate up down in each decoder layer.
inline void draw_lora_a(TorchGenerator& generator, int in, int out, int rank, std::span<float> a) {
  generator.skip(static_cast<std::uint64_t>(rank) * static_cast<std::uint64_t>(in));
  generator.skip(static_cast<std::uint64_t>(out) * static_cast<std::uint64_t>(rank));
  const float bound = linear_init_bound(in);
  for (float& value : a) value = generator.uniform(-bound, bound);
}

}  // namespace lamina
