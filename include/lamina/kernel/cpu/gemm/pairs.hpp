#pragma once
#include <lamina/kernel/cpu/gemm/gemm.hpp>

#include <bit>
#include <cstdint>

/// x W^T in AVX512-BF16. Two bf16 make a 32-bit word, and one instruction adds the products of both halves of two
/// words; so this is the fp32 product of gemm.hpp on half the depth, with words in place of floats and another
/// multiply-add.
namespace lamina::kernel::detail {

/// Whether a product can be taken word by word: bf16 weights whose rows hold whole, aligned words.
inline bool can_pair(const Gemm& g) {
  return g.b.w.dtype == DType::BF16 && g.b.transposed && g.depth % 2 == 0 && g.b.w.stride % 2 == 0 &&
         reinterpret_cast<std::uintptr_t>(g.b.w.data) % 4 == 0;
}

/// Rounds A to bf16. The CPU must have AVX512-BF16, and can_pair(g).
inline void gemm_pairs(Gemm g) {
  struct Words {};
  const int words = g.depth / 2;
  float* rounded = scratch<Words>(static_cast<std::size_t>(g.rows) * words);
  parallel_for(g.rows, [&](std::int64_t m) {
    const float* row = g.a.data + m * g.a.stride;
    for (int k = 0; k < words; ++k) {
      const std::uint32_t low = round_to<bf16>(row[2 * k]).bits, high = round_to<bf16>(row[2 * k + 1]).bits;
      rounded[m * words + k] = std::bit_cast<float>(low | high << 16);
    }
  });
  g.a = {rounded, words};
  g.b.w = {g.b.w.data, DType::F32, g.b.w.rows, words, g.b.w.stride / 2};
  g.depth = words;
  gemm(tile_for(Isa::avx512_bf16), g);
}

}  // namespace lamina::kernel::detail
