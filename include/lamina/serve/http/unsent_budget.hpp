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
  struct Row {
    std::function<void()> close = {};
    std::uint64_t bytes = 0;
    Clock::time_point since = {};
    bool leaving = false;
  };
  using Rows = std::list<Row>;

 public:
  explicit UnsentBudget(std::uint64_t limit) : limit_(limit) {}
  UnsentBudget(const UnsentBudget&) = delete;
  UnsentBudget& operator=(const UnsentBudget&) = delete;

  /// The bytes of one connection; given back when this is destroyed. The budget must outlive it.
  class Share {
   public:
    explicit Share(UnsentBudget& budget) : budget_(budget) {
      const std::lock_guard lock(budget_.mutex_);
      row_ = budget_.rows_.emplace(budget_.rows_.end());
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() {
      const std::lock_guard lock(budget_.mutex_);
      if (!row_->leaving) budget_.held_ -= row_->bytes;
      budget_.rows_.erase(row_);
    }
    /// What to call if this connection is to close; from any thread, once.
    void on_eviction(std::function<void()> close) {
      const std::lock_guard lock(budget_.mutex_);
      row_->close = std::move(close);
    }
    /// Counts bytes, and closes connections if that is too many: this one last.
    void add(std::uint64_t bytes) {
      {
        const std::lock_guard lock(budget_.mutex_);
        if (row_->bytes == 0) row_->since = Clock::now();
        row_->bytes += bytes;
        if (!row_->leaving) budget_.held_ += bytes;
      }
      while (const auto close = budget_.next_victim()) close();
    }
    void remove(std::uint64_t bytes) {
      const std::lock_guard lock(budget_.mutex_);
      row_->bytes -= bytes;
      if (!row_->leaving) budget_.held_ -= bytes;
    }
    std::uint64_t bytes() const {
      const std::lock_guard lock(budget_.mutex_);
      return row_->bytes;
    }

   private:
    UnsentBudget& budget_;
    Rows::iterator row_;
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
    auto found = rows_.end();
    for (auto row = rows_.begin(); row != rows_.end(); ++row)
      if (row->bytes > 0 && !row->leaving && row->close && (found == rows_.end() || row->since < found->since))
        found = row;
    if (found == rows_.end()) return {};
    found->leaving = true;
    held_ -= found->bytes;
    return std::move(found->close);
  }

  const std::uint64_t limit_;
  mutable std::mutex mutex_;
  Rows rows_;
  std::uint64_t held_ = 0;
};

}  // namespace lamina::serve
