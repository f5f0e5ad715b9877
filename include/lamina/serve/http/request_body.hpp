#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/serve/jobs/byte_budget.hpp>

namespace lamina::serve {

/// The body of one request. Its memory counts against a budget that all bodies share, from the first byte until the
/// body is released or destroyed.
///
/// A body that finds no room is refused. The alternative, to stop reading until there is room, is not safe: slow
/// clients that each hold a part of the budget would wait for each other, and for everybody else. Bytes are counted as
/// they arrive, so that a Content-Length alone reserves nothing.
class RequestBody {
 public:
  RequestBody() = default;
  explicit RequestBody(std::shared_ptr<ByteBudget> budget) : budget_(std::move(budget)) {}

  const std::string& text() const { return text_; }

  /// The whole size, if the client declared it: memory then grows to that and no further.
  void expect(std::uint64_t size) { expected_ = size; }

  /// Adds bytes; false if the budget has no room for them. Throws std::bad_alloc.
  bool append(std::string_view bytes) {
    const std::size_t need = text_.size() + bytes.size();
    if (need > text_.capacity() && !grow(need)) return false;
    text_.append(bytes);
    return true;
  }

  /// The bytes, no longer counted.
  std::string take() noexcept {
    std::string out = std::move(text_);
    release();
    return out;
  }
  /// Frees the memory now.
  void release() noexcept {
    std::string().swap(text_);
    share_.shrink_to(0);
  }

 private:
  /// Doubles, so that a body is copied a bounded number of times. While it is copied both sizes count.
  bool grow(std::size_t need) {
    std::uint64_t size = std::max<std::uint64_t>({need, 2 * text_.capacity(), 4096});
    if (expected_ >= need) size = std::min(size, expected_);
    std::optional<ByteBudget::Share> share;  // in the end that of the smaller text, given back after it
    if (budget_ && !(share = budget_->try_take(static_cast<std::int64_t>(size)))) return false;
    std::string larger;
    larger.reserve(static_cast<std::size_t>(size));
    larger = text_;
    text_.swap(larger);
    if (share) std::swap(share_, *share);
    return true;
  }

  std::shared_ptr<ByteBudget> budget_;
  ByteBudget::Share share_;
  std::string text_;
  std::uint64_t expected_ = 0;
};

}  // namespace lamina::serve
