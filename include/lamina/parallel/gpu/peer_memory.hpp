#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace lamina::parallel {

/// Memory of the GPUs of one host that each of them writes to directly, for values too few to be worth NCCL's time.
/// Each GPU has, twice in turns, a slot for every rank's values, and for each block of a kernel a flag of every rank:
/// the number of the exchange whose values it has written.
struct PeerMemory {
  static constexpr int most_ranks = 8, blocks = 64;

  int rank = 0, ranks = 0;
  std::size_t slot_bytes = 0;                         ///< the most that a rank may send at once
  std::array<std::byte*, most_ranks> slots = {};      ///< of each rank's GPU: (2, ranks) slots
  std::array<std::uint32_t*, most_ranks> flags = {};  ///< of each rank's GPU: (ranks, blocks)
  std::uint32_t* exchanges = nullptr;                 ///< (blocks) how many this GPU has made

  /// The largest message that is worth a slot: a GPU sends it to each of the others, while a ring of R ranks sends 2 /
  /// R of it as often.
  static constexpr std::size_t worth_bytes(int ranks) { return std::size_t{ranks == 2 ? 4u : 1u} << 20; }

  /// What a GPU allocates: its slots, then its flags, then its counts.
  std::size_t flags_at() const { return 2 * static_cast<std::size_t>(ranks) * slot_bytes; }
  std::size_t exchanges_at() const {
    return flags_at() + sizeof(std::uint32_t) * blocks * static_cast<unsigned>(ranks);
  }
  std::size_t bytes() const { return exchanges_at() + sizeof(std::uint32_t) * blocks; }
  /// The slot of rank `from` on the GPU of rank `on`, in exchange number `exchange`.
  constexpr std::byte* slot(int on, int from, std::uint32_t exchange) const {
    return slots[static_cast<std::size_t>(on)] +
           ((exchange & 1) * static_cast<std::size_t>(ranks) + static_cast<std::size_t>(from)) * slot_bytes;
  }
  constexpr std::uint32_t* flag(int on, int from, int block) const {
    return flags[static_cast<std::size_t>(on)] + from * blocks + block;
  }
};

}  // namespace lamina::parallel
