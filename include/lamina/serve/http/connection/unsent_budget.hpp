#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <utility>

namespace lamina::serve {

/// Bytes of answers that clients have not taken yet, of all connections together. Beyond the limit the connection that
/// lags most is closed: the one that has had bytes waiting for the longest time without a break. A client that reads
/// never waits long, so that those that do not read only push each other out.
class UnsentBudget {
  using Clock = std::chrono::steady_clock;
  struct Backlog {
    std::function<void()> close = {};
    std::uint64_t bytes = 0;
    Clock::time_point since = {};
    bool leaving = false;
  };
  using Backlogs = std::list<Backlog>;

 public:
  explicit UnsentBudget(std::uint64_t limit) : limit_(limit) {}
  UnsentBudget(const UnsentBudget&) = delete;
  UnsentBudget& operator=(const UnsentBudget&) = delete;

  /// The bytes of one connection; given back when this is destroyed. The budget must outlive it.
  class Share {
   public:
    explicit Share(UnsentBudget& budget) : budget_(budget) {
      const std::lock_guard lock(budget_.mutex_);
      backlog_ = budget_.backlogs_.emplace(budget_.backlogs_.end());
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() {
      const std::lock_guard lock(budget_.mutex_);
      if (!backlog_->leaving) budget_.held_ -= backlog_->bytes;
      budget_.backlogs_.erase(backlog_);
    }
    /// What to call if this connection is to close; from any thread, once.
    void on_eviction(std::function<void()> close) {
      const std::lock_guard lock(budget_.mutex_);
      backlog_->close = std::move(close);
    }
    /// Counts bytes, and closes connections if that is too many: this one last.
    void add(std::uint64_t bytes) {
      {
        const std::lock_guard lock(budget_.mutex_);
        if (backlog_->bytes == 0) backlog_->since = Clock::now();
        backlog_->bytes += bytes;
        if (!backlog_->leaving) budget_.held_ += bytes;
      }
      while (const auto close = budget_.next_victim()) close();
    }
    void remove(std::uint64_t bytes) {
      const std::lock_guard lock(budget_.mutex_);
      backlog_->bytes -= bytes;
      if (!backlog_->leaving) budget_.held_ -= bytes;
    }
    std::uint64_t bytes() const {
      const std::lock_guard lock(budget_.mutex_);
      return backlog_->bytes;
    }

   private:
    UnsentBudget& budget_;
    Backlogs::iterator backlog_;
  };

  /// Without those of connections that were asked to close.
  std::uint64_t held() const {
    const std::lock_guard lock(mutex_);
    return held_;
  }

 private:
  std::function<void()> next_victim() {
    const std::lock_guard lock(mutex_);
    if (held_ <= limit_) return {};
    auto found = backlogs_.end();
    for (auto each = backlogs_.begin(); each != backlogs_.end(); ++each)
      if (each->bytes > 0 && !each->leaving && each->close && (found == backlogs_.end() || each->since < found->since))
        found = each;
    if (found == backlogs_.end()) return {};
    found->leaving = true;
    held_ -= found->bytes;
    return std::move(found->close);
  }

  const std::uint64_t limit_;
  mutable std::mutex mutex_;
  Backlogs backlogs_;
  std::uint64_t held_ = 0;
};

}  // namespace lamina::serve
