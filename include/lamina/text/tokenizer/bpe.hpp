#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <stop_token>
#include <string_view>
#include <vector>

#include <lamina/core/threads/cancelled.hpp>

namespace lamina::text {

/// Byte-pair encoding: begins with one token per byte and joins, again and again, the neighbours whose merge comes
/// first in the list of merges, the leftmost of equals. Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1.
class Bpe {
 public:
  /// `byte_ids[b]` is the token of the single byte b; room is made for `merge_count` merges.
  Bpe(const std::array<int, 256>& byte_ids, std::size_t merge_count)
      : byte_ids_(byte_ids), slots_(std::bit_ceil(merge_count * 2 + 2)) {}

  /// The next merge, of lower priority than all before it: tokens left, right become `merged`. A pair that is listed
  /// twice keeps its last place, as in the `tokenizers` library. At most `merge_count` calls; ids are not negative.
  void add_merge(int left, int right, int merged) {
    PairSlot& slot = slots_[find(left, right)];
    slot = {left, right, next_rank_++, merged};
  }

  /// Appends the tokens of one piece of text. Throws Cancelled in the middle of a long one.
  void encode(std::string_view piece, std::vector<int>& ids, const std::stop_token& cancelled = {}) const {
    if (piece.size() == 1) {
      ids.push_back(byte_ids_[static_cast<unsigned char>(piece[0])]);
    } else if (piece.size() <= short_piece) {
      encode_short(piece, ids);
    } else {
      encode_long(piece, ids, cancelled);
    }
  }

 private:
  struct PairSlot {
    int left = -1, right = -1;  // -1: empty
    int rank = 0, merged = 0;
  };
  /// Pieces up to this many bytes are merged by scanning for the best pair; longer ones keep pairs in a heap.
  static constexpr std::size_t short_piece = 48;

  /// The slot that holds the pair, or the empty one in which it belongs. At most half of the slots are ever taken.
  std::size_t find(int left, int right) const {
    const std::uint64_t key = static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
    std::size_t at = (key * 0x9e3779b97f4a7c15u) >> 24 & (slots_.size() - 1);
    while (slots_[at].left >= 0 && (slots_[at].left != left || slots_[at].right != right)) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return at;
  }
  const PairSlot* merge_of(int left, int right) const {
    const PairSlot& slot = slots_[find(left, right)];
    return slot.left < 0 ? nullptr : &slot;
  }

  void encode_short(std::string_view piece, std::vector<int>& ids) const {
    std::array<int, short_piece> tokens;
    std::array<const PairSlot*, short_piece> merges;  // merges[i] joins tokens i and i + 1
    std::size_t count = piece.size();
    for (std::size_t i = 0; i < count; ++i) tokens[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
    for (std::size_t i = 0; i + 1 < count; ++i) merges[i] = merge_of(tokens[i], tokens[i + 1]);
    while (count > 1) {
      std::size_t best = count;
      for (std::size_t i = 0; i + 1 < count; ++i) {
        if (merges[i] && (best == count || merges[i]->rank < merges[best]->rank)) best = i;
      }
      if (best == count) break;
      tokens[best] = merges[best]->merged;
      for (std::size_t i = best + 1; i + 1 < count; ++i) tokens[i] = tokens[i + 1], merges[i] = merges[i + 1];
      --count;
      if (best + 1 < count) merges[best] = merge_of(tokens[best], tokens[best + 1]);
      if (best > 0) merges[best - 1] = merge_of(tokens[best - 1], tokens[best]);
    }
    ids.insert(ids.end(), tokens.begin(), tokens.begin() + count);
  }

  /// A symbol of a piece that is being merged; -1 if there is no neighbour, token -1 once it was joined to its left.
  struct Symbol {
    int token, previous, next;
  };
  struct MergeCandidate {
    int rank, at, left, right;
    bool operator>(const MergeCandidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };

  void encode_long(std::string_view piece, std::vector<int>& ids, const std::stop_token& cancelled) const {
    const int count = static_cast<int>(piece.size());
    std::vector<Symbol> symbols(count);
    for (int i = 0; i < count; ++i) {
      symbols[i] = {byte_ids_[static_cast<unsigned char>(piece[i])], i - 1, i + 1 < count ? i + 1 : -1};
    }
    std::priority_queue<MergeCandidate, std::vector<MergeCandidate>, std::greater<>> queue;
    const auto offer = [&](int at) {
      if (at < 0 || symbols[at].next < 0) return;
      const int left = symbols[at].token, right = symbols[symbols[at].next].token;
      if (const PairSlot* merge = merge_of(left, right)) queue.push({merge->rank, at, left, right});
    };
    for (int i = 0; i + 1 < count; ++i) offer(i);
    for (unsigned step = 0; !queue.empty(); ++step) {
      if (step % 4096 == 0) throw_if_stopped(cancelled);
      const MergeCandidate best = queue.top();
      queue.pop();
      Symbol& symbol = symbols[best.at];
      if (symbol.token != best.left || symbol.next < 0 || symbols[symbol.next].token != best.right) continue;  // stale
      symbol.token = merge_of(best.left, best.right)->merged;
      symbols[symbol.next].token = -1;
      symbol.next = symbols[symbol.next].next;
      if (symbol.next >= 0) symbols[symbol.next].previous = best.at;
      offer(symbol.previous);
      offer(best.at);
    }
    for (int at = 0; at >= 0; at = symbols[at].next) ids.push_back(symbols[at].token);
  }

  std::array<int, 256> byte_ids_;
  std::vector<PairSlot> slots_;
  int next_rank_ = 0;
};

}  // namespace lamina::text
