#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace lamina::serve {

/// Bytes that the bodies of all requests may hold together, from their first byte until they have been parsed.
///
/// A body that finds no room is refused with 503 and Retry-After. The alternative, to stop reading until there is room,
/// is not safe: slow clients that each hold a part of the budget would wait for each other, and for everybody else.
/// Bytes are counted as they arrive, so that a Content-Length alone reserves nothing.
class BodyBudget {
 public:
  explicit BodyBudget(std::uint64_t limit) : limit_(limit) {}
  BodyBudget(const BodyBudget&) = delete;
  BodyBudget& operator=(const BodyBudget&) = delete;

  /// False, and nothing is taken, if that would be more than the limit.
  bool take(std::uint64_t bytes) noexcept {
    std::uint64_t held = held_;
    do {
      if (bytes > limit_ || held > limit_ - bytes) return false;
    } while (!held_.compare_exchange_weak(held, held + bytes));
    return true;
  }
  void give_back(std::uint64_t bytes) noexcept { held_ -= bytes; }
  std::uint64_t held() const noexcept { return held_; }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> held_{0};
};

/// The body of one request. Its memory counts against a budget until it is released or destroyed.
class RequestBody {
 public:
  RequestBody() = default;
  explicit RequestBody(std::shared_ptr<BodyBudget> budget) : budget_(std::move(budget)) {}
  RequestBody(RequestBody&& other) noexcept { swap(other); }
  RequestBody& operator=(RequestBody&& other) noexcept {
    RequestBody taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~RequestBody() { release(); }

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
    if (budget_) budget_->give_back(std::exchange(counted_, 0));
  }

 private:
  /// Doubles, so that a body is copied a bounded number of times. While it is copied both sizes count.
  bool grow(std::size_t need) {
    std::uint64_t size = std::max<std::uint64_t>({need, 2 * text_.capacity(), 4096});
    if (expected_ >= need) size = std::min(size, expected_);
    if (budget_ && !budget_->take(size)) return false;
    try {
      std::string larger;
      larger.reserve(static_cast<std::size_t>(size));
      larger = text_;
      text_.swap(larger);
    } catch (...) {
      if (budget_) budget_->give_back(size);
      throw;
    }
    if (budget_) budget_->give_back(counted_);
    counted_ = size;
    return true;
  }
  void swap(RequestBody& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(text_, other.text_);
    std::swap(expected_, other.expected_);
    std::swap(counted_, other.counted_);
  }

  std::shared_ptr<BodyBudget> budget_;
  std::string text_;
  std::uint64_t expected_ = 0, counted_ = 0;
};

}  // namespace lamina::serve
