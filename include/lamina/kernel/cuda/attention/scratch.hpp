#pragma once
#include <lamina/core/arena.hpp>
#include <lamina/kernel/attention/attention.hpp>

/// What attention's backward on the GPU takes of its stream's scratch.
namespace lamina::kernel::cuda {

/// What the passes of backward share, in scratch. Row sums are (H, Nq), so that a head's are contiguous. dQ's sums
/// are stored as mma leaves them: 8 rows x 8 columns together, 8 rows by 8 rows; sequences start at multiples of 8
/// rows.
struct AttentionBwdSums {
  float *lse, *delta;  ///< lse * log2 e, rowsum(dO * O)
  float* dq;           ///< (row groups, H, width / 8, 8, 8)
  int* turns;          ///< (H, query tiles): how many tiles of keys have been added; then the ticket
  int tiles;           ///< query tiles that have turns

  static constexpr int queries = 64, least_keys = 64, group = 8;
  static constexpr int padded(int head_dim) { return head_dim <= 64 ? 64 : head_dim <= 80 ? 80 : 128; }
  /// Sequences longer than least_keys alone use dq and turns; each starts at the place to which the rows before it
  /// would reach, and leaves a place for its own broken tile.
  LAMINA_HD static constexpr int start(int row, int unit) { return row / unit + row / least_keys; }
  LAMINA_HD static constexpr int places(int rows, int unit) { return start(rows, unit) + 1; }

  static AttentionBwdSums take(Arena& arena, int rows, const AttentionShape& s) {
    const auto all = static_cast<std::size_t>(rows) * s.heads;
    AttentionBwdSums sums{};
    sums.lse = arena.take<float>(all);
    sums.delta = arena.take<float>(all);
    sums.dq = arena.take<float>(std::size_t{group} * places(rows, group) * s.heads * padded(s.head_dim));
    sums.tiles = places(rows, queries);
    sums.turns = arena.take<int>(std::size_t(sums.tiles) * s.heads + 1);
    return sums;
  }
};

/// Backward takes at most this much.
inline std::size_t attention_workspace_bytes(const AttentionShape& shape, int queries) {
  Arena counts;
  AttentionBwdSums::take(counts, queries, shape);
  return counts.peak_bytes();
}

}  // namespace lamina::kernel::cuda
