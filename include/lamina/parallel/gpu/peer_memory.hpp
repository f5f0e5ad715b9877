#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace lamina::parallel {

/// Memory of the GPUs of one host that each of them writes to directly, for values too few to be worth NCCL's time.
/// Each GPU has, twice in turns, a slot for every rank's values. Words of a slot are `unwritten` until a rank writes
/// them, and again once they are read.
struct PeerMemory {
  static constexpr int most_ranks = 8, blocks = 64;
  /// A word that no rank writes: as two bf16 or fp16 it is a pair of -0, for which +0 is sent; as fp32 it is -4.6e-41.
  static constexpr std::uint32_t unwritten = 0x80008000u;

  int rank = 0, ranks = 0;
  std::size_t slot_bytes = 0;                     ///< the most that a rank may send at once
  std::array<std::byte*, most_ranks> slots = {};  ///< of each rank's GPU: (2, ranks) slots
  std::uint32_t* exchanges = nullptr;             ///< (blocks) how many this GPU has made

  /// The largest sum that is worth a slot: a GPU sends its values to each of the others, while a ring of R ranks sends
  /// 2 / R of them as often.
  static constexpr std::size_t most_sum_bytes(int ranks) { return std::size_t{ranks == 2 ? 4u : 1u} << 20; }
  /// Slots have room for such a sum and for a rank's part of 64 rows of logits.
  static constexpr std::size_t useful_bytes(int ranks) {
    return std::max(most_sum_bytes(ranks), (std::size_t{20} << 20) / static_cast<std::size_t>(ranks));
  }

  /// What a GPU allocates: its slots, then its counts.
  constexpr std::size_t exchanges_at() const { return 2 * static_cast<std::size_t>(ranks) * slot_bytes; }
  constexpr std::size_t bytes() const { return exchanges_at() + sizeof(std::uint32_t) * blocks; }
  /// The slot of rank `from` on the GPU of rank `on`, in exchange number `exchange`.
  constexpr std::byte* slot(int on, int from, std::uint32_t exchange) const {
    return slots[static_cast<std::size_t>(on)] +
           ((exchange & 1) * static_cast<std::size_t>(ranks) + static_cast<std::size_t>(from)) * slot_bytes;
  }
};

}  // namespace lamina::parallel
