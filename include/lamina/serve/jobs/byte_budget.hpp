#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/core/threads/cancelled.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

/// Bytes of memory that all requests may hold together for one purpose. A taker waits until they are free, or is
/// refused at once.
///
/// A request that waits takes all that it will ever need in one call: requests that hold a part while they wait for
/// another could wait for each other.
class ByteBudget {
  struct State {
    explicit State(std::int64_t bytes) : total(bytes), free(bytes) {}
    const std::int64_t total;
    std::int64_t free;
    std::mutex mutex;
    std::condition_variable_any changed;
  };

 public:
  explicit ByteBudget(std::int64_t total) : state_(std::make_shared<State>(total)) {}

  /// Bytes that were taken; given back when this is destroyed. It may outlive the budget.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept : state_(std::move(other.state_)), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(state_, other.state_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Share() { shrink_to(0); }
    /// Gives back all but so many.
    void shrink_to(std::int64_t bytes) {
      if (!state_ || bytes >= bytes_) return;
      const std::lock_guard lock(state_->mutex);
      state_->free += bytes_ - bytes;
      bytes_ = bytes;
      state_->changed.notify_all();
    }
    std::int64_t bytes() const { return bytes_; }

   private:
    friend ByteBudget;
    Share(std::shared_ptr<State> state, std::int64_t bytes) : state_(std::move(state)), bytes_(bytes) {}
    std::shared_ptr<State> state_;
    std::int64_t bytes_ = 0;
  };

  std::int64_t total() const { return state_->total; }
  /// At this moment.
  std::int64_t free() const {
    const std::lock_guard lock(state_->mutex);
    return state_->free;
  }
  std::int64_t held() const { return total() - free(); }

  /// Takes so many bytes if they are free now, else nothing.
  std::optional<Share> try_take(std::int64_t bytes) {
    const std::lock_guard lock(state_->mutex);
    if (bytes > state_->free) return {};
    state_->free -= bytes;
    return Share(state_, bytes);
  }

  /// Takes so many bytes, at most total(), as soon as they are free. Throws Cancelled, and ApiError 503 if they are not
  /// free in time: answers hold their share until they end, and a request that waits for them delays others.
  Share take(std::int64_t bytes, const std::stop_token& cancelled = {},
             std::chrono::milliseconds patience = std::chrono::hours(1)) {
    if (bytes > total()) fail("budget: ", bytes, " bytes are wanted, there are ", total());
    std::unique_lock lock(state_->mutex);
    if (!state_->changed.wait_for(lock, cancelled, patience, [&] { return state_->free >= bytes; })) {
      throw_if_stopped(cancelled);
      throw ApiError(503, "ServiceUnavailable", "the memory for images and long texts is in use; try again");
    }
    state_->free -= bytes;
    return {state_, bytes};
  }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace lamina::serve
