#pragma once
#include <lamina/core/threads.hpp>

#include <algorithm>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace lamina::data {

/// How to make items 0, 1, ... of which each falls into parts: begin() returns an item with room for its parts, make()
/// fills in one of them. Items begin in order, one at a time; parts are made by several threads at a time.
template <class R>
concept Recipe = requires(R recipe, typename R::Item item, std::int64_t index, int part) {
  { recipe.begin(index, std::move(item)) } -> std::same_as<typename R::Item>;  // given a used item for its memory
  { recipe.parts(std::as_const(item)) } -> std::convertible_to<int>;
  { recipe.bytes(std::as_const(item)) } -> std::convertible_to<std::size_t>;
  recipe.make(item, part);
};

/// How far ahead of their use items are made: by how many threads, and until so many items or bytes wait to be taken.
/// One item is always made ahead, however large.
struct Ahead {
  int workers = 0;  ///< 0: each item is made when it is asked for, by the thread that asks
  std::int64_t items = 16;
  std::size_t bytes = std::size_t{256} << 20;
};

/// Makes items ahead of their use in worker threads, and hands them out in order, equal to the last bit to those that
/// one thread makes. The threads share the parts of an item, so that a large item is ready as soon as a small one, and
/// parallel_for keeps each of them to one core.
template <Recipe R>
class Prefetch {
 public:
  using Item = typename R::Item;

  /// Makes items [0, count).
  Prefetch(R recipe, std::int64_t count, Ahead ahead) : recipe_(std::move(recipe)), count_(count), ahead_(ahead) {
    for (int w = 0; w < ahead.workers; ++w) threads_.emplace_back([this] { work(); });
  }
  /// Waits for no more than the parts that are in the making.
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

  /// The next item, or nothing after the last. What was thrown for this item, for its first part that failed, is thrown
  /// here, in its turn, once; the items after it can still be taken.
  std::optional<Item> next() {
    if (taken_ == count_) return std::nullopt;
    return threads_.empty() ? make_here() : take();
  }

  /// Hands a used item back: its memory serves an item to come. One is always kept, more within the bytes allowed.
  void give_back(Item item) {
    const std::size_t bytes = recipe_.bytes(item);
    std::lock_guard lock(mutex_);
    if (!spare_.empty() && bytes_ + spare_bytes_ >= ahead_.bytes) return;
    spare_.push_back(std::move(item));
    spare_bytes_ += bytes;
  }

 private:
  static constexpr int none = std::numeric_limits<int>::max();

  /// An item in the making: its parts are dealt out in order.
  struct Entry {
    Item item;
    std::size_t bytes = 0;
    int parts = 0, started = 0, finished = 0;
    bool begun = false;
    int failed = none;  // the first part that failed, -1 for begin()
    std::exception_ptr error;

    bool ready() const { return begun && finished == parts; }
    void fail(int part, std::exception_ptr why) {
      if (why && part < failed) failed = part, error = std::move(why);
    }
  };

  Item make_here() {
    Item item = recipe_.begin(taken_++, take_spare());
    for (int part = 0; part < recipe_.parts(item); ++part) recipe_.make(item, part);
    return item;
  }

  Item take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return !entries_.empty() && entries_.front().ready(); });
    Entry entry = std::move(entries_.front());
    entries_.pop_front();
    bytes_ -= entry.bytes;
    ++taken_;
    lock.unlock();
    changed_.notify_all();
    if (entry.error) std::rethrow_exception(entry.error);
    return std::move(entry.item);
  }

  Item take_spare() {
    if (spare_.empty()) return {};
    Item item = std::move(spare_.back());
    spare_.pop_back();
    spare_bytes_ -= recipe_.bytes(item);
    return item;
  }

  /// At most one item is begun with none of its parts in the making: enough that no thread waits for one.
  bool may_begin() const {
    const auto waiting = static_cast<std::int64_t>(entries_.size());
    if (beginning_ || taken_ + waiting == count_) return false;
    if (waiting == 0) return true;
    const bool used_up = entries_.back().started > 0 || entries_.back().parts == 0;
    return used_up && waiting < ahead_.items && bytes_ < ahead_.bytes;
  }
  Entry* with_open_part() {
    const auto it =
        std::find_if(entries_.begin(), entries_.end(), [](const Entry& e) { return e.begun && e.started < e.parts; });
    return it == entries_.end() ? nullptr : &*it;
  }

  void work() {
    use_one_thread();
    std::unique_lock lock(mutex_);
    for (;;) {
      Entry* open = nullptr;
      changed_.wait(lock, [&] { return stopped_ || may_begin() || (open = with_open_part()); });
      if (stopped_) return;
      open ? make_part(lock, *open) : begin_item(lock);
    }
  }

  void begin_item(std::unique_lock<std::mutex>& lock) {
    const std::int64_t index = taken_ + static_cast<std::int64_t>(entries_.size());
    Item item = take_spare();
    Entry& entry = entries_.emplace_back();  // stays where it is until it is taken
    beginning_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      item = recipe_.begin(index, std::move(item));
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    entry.fail(-1, error);
    if (!error) entry.parts = recipe_.parts(item), entry.bytes = recipe_.bytes(item);
    entry.item = std::move(item);
    bytes_ += entry.bytes;
    entry.begun = true;
    beginning_ = false;
    if (entry.ready()) ready_.notify_one();
    changed_.notify_all();
  }

  void make_part(std::unique_lock<std::mutex>& lock, Entry& entry) {
    const int part = entry.started++;
    if (part == 0) changed_.notify_one();  // another item may begin
    lock.unlock();
    std::exception_ptr error;
    try {
      recipe_.make(entry.item, part);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    entry.fail(part, error);
    ++entry.finished;
    if (entry.ready()) ready_.notify_one();
  }

  R recipe_;
  const std::int64_t count_;
  const Ahead ahead_;
  std::mutex mutex_;
  std::condition_variable changed_, ready_;  // there is work; the next item may be ready
  std::deque<Entry> entries_;                // guarded, as are those below: the items after those taken, in order
  std::vector<Item> spare_;
  std::int64_t taken_ = 0;
  std::size_t bytes_ = 0, spare_bytes_ = 0;
  bool beginning_ = false, stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lamina::data
