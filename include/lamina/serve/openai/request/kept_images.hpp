#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace lamina::serve {

/// The files of images that requests named by a uuid, for later requests that send the uuid alone. Those that were
/// not asked for longest give way. A file is found by requests of the salt that it came with: who knows a uuid must
/// not see the image of another tenant. Any thread may use it.
class KeptImages {
 public:
  static constexpr std::size_t default_bytes = std::size_t{256} << 20;
  using File = std::shared_ptr<const std::vector<std::uint8_t>>;
  struct Name {
    std::string salt, uuid;
    auto operator<=>(const Name&) const = default;
  };

  /// bytes: that all files may take together; 0: none is kept
  explicit KeptImages(std::size_t bytes) : most_(bytes) {}

  /// Null if there is none of this name.
  File find(const Name& name) {
    const std::lock_guard lock(mutex_);
    const auto found = files_.find(name);
    if (found == files_.end()) return nullptr;
    order_.splice(order_.end(), order_, found->second.place);
    return found->second.file;
  }
  /// Takes the place of another file of this name. One that is larger than all may be is not kept.
  void keep(const Name& name, std::vector<std::uint8_t> bytes) {
    const std::size_t size = size_of(name, bytes);
    if (size > most_) return;
    auto file = std::make_shared<const std::vector<std::uint8_t>>(std::move(bytes));
    const std::lock_guard lock(mutex_);
    if (const auto old = files_.find(name); old != files_.end()) drop(old);
    while (bytes_ + size > most_) drop(files_.find(order_.front()));
    bytes_ += size;
    files_.emplace(name, Kept{std::move(file), order_.insert(order_.end(), name)});
  }
  std::size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  struct Kept {
    File file;
    std::list<Name>::iterator place;
  };
  static std::size_t size_of(const Name& name, const std::vector<std::uint8_t>& bytes) {
    return bytes.size() + 2 * (name.salt.size() + name.uuid.size()) + 256;
  }
  void drop(std::map<Name, Kept>::iterator at) {
    bytes_ -= size_of(at->first, *at->second.file);
    order_.erase(at->second.place);
    files_.erase(at);
  }

  std::size_t most_, bytes_ = 0;
  mutable std::mutex mutex_;
  std::map<Name, Kept> files_;
  std::list<Name> order_;  ///< the one that was asked for longest ago first
};

}  // namespace lamina::serve
