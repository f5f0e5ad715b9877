#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace lamina::data {

/// Makes items 0, 1, ... ahead of their use in worker threads, and hands them out in order. At most `depth` items are
/// finished or in the making beyond those taken. With no worker, an item is made when it is asked for.
template <class Item>
class Prefetch {
 public:
  /// `make(i)` makes item i, for i in [0, count); several threads call it at a time, each for its own i.
  Prefetch(std::int64_t count, int workers, int depth, std::function<Item(std::int64_t)> make)
      : count_(count), depth_(depth < 1 ? 1 : depth), make_(std::move(make)) {
    for (int w = 0; w < workers; ++w) threads_.emplace_back([this] { work(); });
  }
  ~Prefetch() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  /// The next item, or nothing after the last. What make() threw for this item is thrown here, in its turn, once; the
  /// items after it can still be taken.
  std::optional<Item> next() {
    if (taken_ == count_) return std::nullopt;
    if (threads_.empty()) return make_(taken_++);
    Result result = take();
    if (result.error) std::rethrow_exception(result.error);
    return std::move(result.item);
  }

 private:
  struct Result {
    std::optional<Item> item;
    std::exception_ptr error;
  };

  Result take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return results_.count(taken_) > 0; });
    Result result = std::move(results_.extract(taken_).mapped());
    ++taken_;
    lock.unlock();
    changed_.notify_all();
    return result;
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopped_ || started_ == count_ || started_ < taken_ + depth_; });
      if (stopped_ || started_ == count_) return;
      const std::int64_t index = started_++;
      lock.unlock();
      Result result;
      try {
        result.item = make_(index);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      results_.emplace(index, std::move(result));
      changed_.notify_all();
    }
  }

  const std::int64_t count_, depth_;
  const std::function<Item(std::int64_t)> make_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t started_ = 0, taken_ = 0;  // guarded, as are the two below
  std::map<std::int64_t, Result> results_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lamina::data
