#pragma once
#include <lamina/core/arena.hpp>
#include <lamina/kernel/attention.hpp>

/// What attention on the GPU takes of its stream's scratch.
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

/// How the keys of each sequence are shared out. A partial result of a row is o, its reference
/// and its sum.
struct AttentionDecodePlan {
  static constexpr int part_rows = 16, most_blocks = 512, most_groups = 256;
  int groups;    ///< (tile of rows, kv head): each reads the keys of a sequence once
  int splits;    ///< most blocks that share the keys of a group
  float* parts;  ///< (groups, splits, part_rows, head_dim + 4), a multiple of 16 bytes per row

  static constexpr int row_floats(int head_dim) { return head_dim + 4; }
  static constexpr std::size_t floats(std::size_t blocks, int head_dim) {
    return blocks * part_rows * row_floats(head_dim);
  }
};

/// At most this much.
inline std::size_t attention_workspace_bytes(const AttentionShape& shape, int queries, bool backward) {
  Arena counts;
  if (backward)
    AttentionBwdSums::take(counts, queries, shape);
  else
    counts.take<float>(AttentionDecodePlan::floats(AttentionDecodePlan::most_blocks, shape.head_dim));
  return counts.peak_bytes();
}

}  // namespace lamina::kernel::cuda
