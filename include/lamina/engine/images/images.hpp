#pragma once
#include <list>
#include <map>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/schedule/pages.hpp>

/// The vision tower's output kept for prompts that show the image, now or again: which blocks of rows hold which image.
/// Numbers only, no bytes.
namespace lamina::engine {

/// A bounded store of embedding rows in blocks of equal size, keyed by the image's content. Images without references
/// stay until their blocks are needed, the least recently used first.
class ImageRows {
 public:
  enum class Held {
    ready,  ///< the rows are there, or a step that encodes them was planned before
    added,  ///< blocks are reserved; the caller must have the image encoded into them
    full,   ///< no room until other images are released; nothing was held
  };

  /// `blocks` of `block_rows` rows each.
  /// errors  lamina::Error if either is less than 1.
  ImageRows(int blocks, int block_rows) : block_rows_(block_rows) {
    if (blocks < 1 || block_rows < 1)
      fail("image rows: ", blocks, " blocks of ", block_rows, " rows; at least 1 is needed");
    for (int block = blocks - 1; block >= 0; --block) free_.push_back(block);
    total_ = blocks;
  }

  int total_blocks() const { return total_; }
  int free_blocks() const { return static_cast<int>(free_.size()); }
  bool has(const ImageHash& hash) const { return images_.count(hash) != 0; }
  int images() const { return static_cast<int>(images_.size()); }
  int referenced_images() const { return static_cast<int>(images_.size() - unused_.size()); }
  int blocks_for(int rows) const { return (rows + block_rows_ - 1) / block_rows_; }

  /// Takes a reference to the image's rows, reserving blocks if they are not there.
  /// errors  lamina::Error if the image has more rows than the whole store.
  Held hold(const ImageHash& hash, int rows) {
    if (blocks_for(rows) > total_)
      fail("an image of ", rows, " tokens is larger than the image cache of ", total_ * block_rows_, " rows");
    if (const auto found = images_.find(hash); found != images_.end()) {
      if (found->second.references++ == 0) unused_.erase(found->second.unused);
      return Held::ready;
    }
    const auto needed = static_cast<std::size_t>(blocks_for(rows));
    std::size_t reachable = free_.size();
    for (const auto& unused : unused_) reachable += images_.at(unused).blocks.size();
    if (reachable < needed) return Held::full;
    while (free_.size() < needed) evict(unused_.front());
    StoredImage image;
    image.references = 1;
    image.blocks.assign(free_.end() - static_cast<std::ptrdiff_t>(needed), free_.end());
    free_.resize(free_.size() - needed);
    images_.emplace(hash, std::move(image));
    return Held::added;
  }
  /// Gives a reference back.
  void release(const ImageHash& hash) {
    StoredImage& image = images_.at(hash);
    if (--image.references == 0) image.unused = unused_.insert(unused_.end(), hash);
  }
  /// Drops the rows of an image without references: they are not what they should be.
  void forget(const ImageHash& hash) {
    if (const auto found = images_.find(hash); found != images_.end() && found->second.references == 0) evict(hash);
  }
  /// The blocks that hold an image, in the order of its rows.
  const std::vector<int>& blocks(const ImageHash& hash) const { return images_.at(hash).blocks; }

 private:
  struct StoredImage {
    int references = 0;
    std::vector<int> blocks;
    std::list<ImageHash>::iterator unused;  ///< its place in unused_ while it has no reference
  };
  void evict(ImageHash hash) {
    const auto found = images_.find(hash);
    free_.insert(free_.end(), found->second.blocks.begin(), found->second.blocks.end());
    unused_.erase(found->second.unused);
    images_.erase(found);
  }

  int block_rows_, total_ = 0;
  std::vector<int> free_;
  std::map<ImageHash, StoredImage> images_;
  std::list<ImageHash> unused_;  ///< images without references, least recently used first
};

}  // namespace lamina::engine
