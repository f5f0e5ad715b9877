#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include <lamina/core/arena.hpp>
#include <lamina/core/error.hpp>
#include <lamina/kernel/device.hpp>

namespace lamina {

/// Host memory through which rows go to the backend's: while those of one part are on their way, the other is filled.
/// Its end waits until all have arrived.
template <Backend B>
class RowSender {
 public:
  static constexpr std::size_t at_once = std::size_t{16} << 20;  ///< bytes that a part has at least

  RowSender() = default;
  RowSender(const RowSender&) = delete;
  RowSender& operator=(const RowSender&) = delete;
  ~RowSender() {
    try {
      for (Part& part : parts_) part.sent.wait();
    } catch (const Error&) {  // of the device, whose next use tells it too
    }
  }

  /// `sent` is to be set after what was written has been sent.
  struct Part {
    Arena memory;
    typename Device<B>::Mark sent;
  };
  /// The part whose turn it is, with room for so many bytes: what it held has arrived.
  std::pair<Part&, std::span<std::byte>> next(std::size_t bytes) {
    Part& part = parts_[turn_++ % parts_.size()];
    part.sent.wait();
    if (part.memory.counts() || part.memory.capacity_bytes() < bytes)
      part.memory = Arena::staging(std::max(bytes, at_once), Memory<B>{});
    part.memory.release_to(0);
    return {part, {part.memory.template take<std::byte>(bytes), bytes}};
  }

 private:
  std::array<Part, 2> parts_;
  std::size_t turn_ = 0;
};

}  // namespace lamina
