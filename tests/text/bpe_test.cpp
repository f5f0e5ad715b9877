#include <lamina/text/tokenizer/bpe.hpp>
#include "support.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <vector>

using namespace lamina::text;

namespace {

struct Merge {
  int left, right, merged;
};

/// The definition, word by word: while any neighbours are in the list, join those that come first in it.
std::vector<int> by_definition(std::vector<int> ids, const std::vector<Merge>& merges) {
  for (bool joined = true; joined;) {
    joined = false;
    for (const Merge& merge : merges) {
      for (std::size_t i = 0; !joined && i + 1 < ids.size(); ++i) {
        if (ids[i] != merge.left || ids[i + 1] != merge.right) continue;
        ids[i] = merge.merged;
        ids.erase(ids.begin() + i + 1);
        joined = true;
      }
      if (joined) break;
    }
  }
  return ids;
}

}  // namespace

TEST_CASE("Bpe: pieces of any length merge as the definition says") {
  std::mt19937 random(7);
  std::array<int, 256> byte_ids;
  std::iota(byte_ids.begin(), byte_ids.end(), 0);
  for (int round = 0; round < 20; ++round) {
    std::vector<Merge> merges;
    // Few letters and many merges, also of merged tokens, so that candidates overlap and grow stale.
    std::vector<int> tokens{'a', 'b', 'c'};
    for (int i = 0; i < 40; ++i) {
      const Merge merge{tokens[random() % tokens.size()], tokens[random() % tokens.size()], 256 + i};
      const bool known = std::any_of(merges.begin(), merges.end(),
                                     [&](const Merge& m) { return m.left == merge.left && m.right == merge.right; });
      if (known) continue;
      merges.push_back(merge);
      tokens.push_back(merge.merged);
    }
    Bpe bpe(byte_ids, merges.size());
    for (const Merge& merge : merges) bpe.add_merge(merge.left, merge.right, merge.merged);
    for (int size = 1; size < 130; ++size) {
      std::string piece;
      for (int i = 0; i < size; ++i) piece += static_cast<char>('a' + random() % 3);
      std::vector<int> ids{-7};
      bpe.encode(piece, ids);
      REQUIRE(ids[0] == -7);  // encode appends
      ids.erase(ids.begin());
      CAPTURE(piece);
      REQUIRE(ids == by_definition(std::vector<int>(piece.begin(), piece.end()), merges));
    }
  }
}
