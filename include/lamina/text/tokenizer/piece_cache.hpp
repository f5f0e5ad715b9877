#pragma once
#include <array>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lamina::text {

/// Lets maps with string keys be searched by string_view without a copy.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

/// Remembers the tokens of pieces of text, most of which are words that come again. Threads may share it; its memory
/// is bounded: a full shard is emptied.
class PieceCache {
 public:
  /// Appends the tokens of `piece`, asking make(piece, ids) to append them if they are not known yet.
  template <class Make>
  void encode(std::string_view piece, std::vector<int>& ids, Make&& make) {
    if (piece.size() < 2 || piece.size() > longest_piece) return make(piece, ids);
    Shard& shard = shards_[StringHash{}(piece) % shards_.size()];
    {
      const std::lock_guard lock(shard.mutex);
      if (const auto found = shard.known.find(piece); found != shard.known.end()) {
        ids.insert(ids.end(), found->second.begin(), found->second.end());
        return;
      }
    }
    const std::size_t begin = ids.size();
    make(piece, ids);
    const std::lock_guard lock(shard.mutex);
    if (shard.known.size() >= shard_capacity) shard.known.clear();
    shard.known.emplace(std::string(piece), std::vector<int>(ids.begin() + begin, ids.end()));
  }

 private:
  static constexpr std::size_t longest_piece = 64;     // bytes; longer ones seldom come again
  static constexpr std::size_t shard_capacity = 4096;  // 16 shards of at most about 0.5 MB each
  struct Shard {
    std::mutex mutex;
    StringMap<std::vector<int>> known;
  };
  std::array<Shard, 16> shards_;
};

}  // namespace lamina::text
