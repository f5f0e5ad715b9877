#pragma once
#include <algorithm>
#include <cstddef>

#include <lamina/core/arena.hpp>
#include <lamina/kernel/logits/sample.hpp>

/// The numbers that a step reads besides the model, as arrays that are sent to the backend in one copy.
namespace lamina::engine {

/// How many of each a step has.
struct StepSizes {
  int sequences = 0, tokens = 0, sampled = 0, visuals = 0, edits = 0;
  int adapted = 0;  ///< tokens whose adapters are known: all, or none if there are no adapters
};

/// N tokens of S sequences. For equal sizes each array is at the same distance from the start of the block.
struct StepInputs {
  int *cu_q = nullptr, *cu_keys = nullptr;                       ///< (S + 1)
  int* sequence_rows = nullptr;                                  ///< (S) request rows
  int *given = nullptr, *positions = nullptr, *slots = nullptr;  ///< (N), (N, 3), (N): see TokenInputs, PagedWrite
  int* adapter_slots = nullptr;                                  ///< (N) negative: no adapter; null: no token has one
  int* sampled = nullptr;                                        ///< tokens after which one is chosen
  int* sampled_rows = nullptr;                                   ///< their request rows; -1: the host chooses
  int* sources = nullptr;  ///< adjusted rows of logits that they are drawn from; -1: their own
  int* chosen = nullptr;   ///< tokens that each of these sequences has chosen before
  kernel::SamplingRule* rules = nullptr;
  int *asked = nullptr, *alternatives = nullptr;          ///< tokens whose logprobs are asked for: see Logprobs
  int *visual_rows = nullptr, *visual_sources = nullptr;  ///< tokens that images replace, and the stored rows that do
  int *edits_at = nullptr, *edits_to = nullptr;           ///< entries of page tables, and the pages that they become
  std::size_t bytes = 0;                                  ///< of the block

  /// The arrays in a block that begins at `block`.
  static StepInputs in(std::byte* block, const StepSizes& n) {
    StepInputs in;
    const auto take = [&]<class E>(E*& array, int count) {
      array = reinterpret_cast<E*>(block + in.bytes);
      const std::size_t bytes = sizeof(E) * static_cast<std::size_t>(count);
      in.bytes += (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
    };
    take(in.cu_q, n.sequences + 1), take(in.cu_keys, n.sequences + 1), take(in.sequence_rows, n.sequences);
    take(in.given, n.tokens), take(in.positions, 3 * n.tokens), take(in.slots, n.tokens);
    take(in.sampled, n.sampled), take(in.sampled_rows, n.sampled), take(in.sources, n.sampled);
    take(in.chosen, n.sampled), take(in.rules, n.sampled);
    take(in.asked, n.sampled), take(in.alternatives, n.sampled);
    take(in.visual_rows, n.visuals), take(in.visual_sources, n.visuals);
    take(in.edits_at, n.edits), take(in.edits_to, n.edits);
    if (n.adapted > 0) take(in.adapter_slots, n.adapted);
    return in;
  }
  static std::size_t bytes_of(const StepSizes& sizes) { return in(nullptr, sizes).bytes; }
  /// Writes rows [used, rows) of a recorded step: they have no keys and write none.
  void pad(int used, int rows) const {
    for (int i = used; i < rows; ++i) {
      given[i] = sequence_rows[i] = 0;
      slots[i] = -1;
      if (adapter_slots) adapter_slots[i] = -1;
      std::fill_n(positions + 3 * i, 3, 0);
      cu_q[i + 1] = i + 1;
      cu_keys[i + 1] = cu_keys[i];
    }
  }
};

}  // namespace lamina::engine
