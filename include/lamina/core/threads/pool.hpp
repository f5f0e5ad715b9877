#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/// The threads behind parallel_for. They are quick on an idle machine and next to busy neighbours, for two reasons: no
/// loop waits for a thread that has not begun, because its caller takes part and takes over the shares of threads that
/// do not come; and a thread that waits looks for work for some microseconds only, then sleeps.
namespace lamina::detail {

/// How long a thread that waits keeps its processor before it sleeps: about what it costs to wake it. Most loops of a
/// training step follow each other sooner; chosen with bench/busy.sh.
inline constexpr std::chrono::microseconds spin_time{50};

inline void pause_processor() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// A count of events that threads wait for. std::atomic::wait would do, but libstdc++'s gives the processor away before
/// it sleeps, and next to a busy neighbour gets it back milliseconds later.
class EventCount {
 public:
  std::uint32_t count() const { return count_.load(); }
  /// Returns when the count differs from `seen`.
  void wait(std::uint32_t seen) {
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 16; ++i) {
        if (count_.load(std::memory_order_acquire) != seen) return;
        pause_processor();
      }
    } while (std::chrono::steady_clock::now() - start < spin_time);
    sleepers_.fetch_add(1);
    while (count_.load() == seen) sleep(seen);
    sleepers_.fetch_sub(1);
  }
  /// Counts one more and wakes at most so many sleepers.
  void add(int wake) {
    count_.fetch_add(1);
    if (sleepers_.load() == 0) return;  // a thread on its way to sleep sees the new count
#if defined(__linux__)
    ::syscall(SYS_futex, &count_, FUTEX_WAKE_PRIVATE, wake, nullptr, nullptr, 0);
#else
    static_cast<void>(wake);
    count_.notify_all();
#endif
  }

 private:
  void sleep(std::uint32_t seen) {
#if defined(__linux__)
    ::syscall(SYS_futex, &count_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
#else
    count_.wait(seen);
#endif
  }
  alignas(64) std::atomic<std::uint32_t> count_ = 0;
  static_assert(sizeof(std::atomic<std::uint32_t>) == 4, "a futex is a word of 32 bits");
  std::atomic<int> sleepers_ = 0;
};

/// The body of a loop, its type erased: runs the indices [first, last).
struct LoopBody {
  void (*run)(void* function, std::int64_t first, std::int64_t last);
  void* function;
};
/// How a loop is cut: into shares, one contiguous run each, and those into chunks that a thread takes at a time.
struct LoopCut {
  std::int64_t n, chunk;
  int shares, threads;
};

/// A loop in progress. Each thread takes its own share chunk by chunk, then what is left of the others'. So on an idle
/// machine a thread gets the same indices in every loop over the same rows, which its cache may still hold, and next to
/// a busy neighbour no share waits for its thread.
class ParallelLoop {
 public:
  static constexpr int most_threads = 1 << 12;

  /// Takes this loop for its caller, unless another has it, and lets helpers in.
  bool open(const LoopCut& cut, const LoopBody& body) {
    std::uint32_t free = 0;
    if (!state_.compare_exchange_strong(free, taken, std::memory_order_acquire)) return false;
    if (capacity_ < cut.shares) shares_ = std::make_unique<Share[]>(static_cast<std::size_t>(capacity_ = cut.shares));
    for (int s = 0; s < cut.shares; ++s) {
      shares_[s].next.store(s * cut.n / cut.shares, std::memory_order_relaxed);
      shares_[s].end = (s + 1) * cut.n / cut.shares;
    }
    count_ = cut.shares, chunk_ = cut.chunk, body_ = body;
    unfinished_.store(count_, std::memory_order_relaxed);
    failed_.store(false, std::memory_order_relaxed);
    state_.store(taken | entrance | static_cast<std::uint32_t>(cut.threads - 1) * one_place, std::memory_order_release);
    return true;
  }
  /// Whether a helper has entered: there are chunks and a place for it. The loop then waits for it to leave.
  bool enter() {
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    while ((state & entrance) && (state & inside) < (state & places) / one_place) {
      if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) return true;
    }
    return false;
  }
  /// Runs chunks, those of share `home` first, until there are none to take.
  void take_part(int home) {
    for (int i = 0; i < count_ && unfinished_.load(std::memory_order_relaxed) > 0; ++i)
      take_chunks(shares_[(home + i) % count_]);
    state_.fetch_and(~entrance, std::memory_order_relaxed);
  }
  void leave() {
    if (((state_.fetch_sub(1, std::memory_order_acq_rel) - 1) & inside) == 0) left_.add(1);
  }
  /// For the caller, after its own part: waits for the helpers inside, frees the loop, and throws what a chunk threw.
  void close() {
    for (;;) {
      const std::uint32_t seen = left_.count();
      if ((state_.load(std::memory_order_acquire) & inside) == 0) break;
      left_.wait(seen);
    }
    const std::exception_ptr error = failed_.load(std::memory_order_relaxed) ? std::exchange(error_, {}) : nullptr;
    state_.store(0, std::memory_order_release);
    if (error) std::rethrow_exception(error);
  }

 private:
  struct alignas(64) Share {
    std::atomic<std::int64_t> next = 0;
    std::int64_t end = 0;
  };
  // state_: who has the loop, whether helpers may enter, how many may be inside, how many are.
  static constexpr std::uint32_t taken = 1u << 31, entrance = 1u << 30, one_place = most_threads,
                                 places = (most_threads - 1) * one_place, inside = most_threads - 1;

  void take_chunks(Share& share) {
    while (share.next.load(std::memory_order_relaxed) < share.end && !failed_.load(std::memory_order_relaxed)) {
      const std::int64_t first = share.next.fetch_add(chunk_, std::memory_order_relaxed);
      if (first >= share.end) return;
      const std::int64_t last = std::min(first + chunk_, share.end);
      if (last == share.end) unfinished_.fetch_sub(1, std::memory_order_relaxed);
      run(first, last);
    }
  }
  void run(std::int64_t first, std::int64_t last) {
    try {
      body_.run(body_.function, first, last);
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }

  alignas(64) std::atomic<std::uint32_t> state_ = 0;
  std::atomic<int> unfinished_ = 0;  ///< shares of which chunks are left
  std::atomic<bool> failed_ = false;
  int count_ = 0, capacity_ = 0;
  std::int64_t chunk_ = 1;
  LoopBody body_{};
  std::unique_ptr<Share[]> shares_;
  std::exception_ptr error_;
  EventCount left_;  ///< how often the last helper left
};

/// Whether this thread is inside a loop's body: loops inside run where they are.
inline bool& inside_loop() {
  static thread_local bool inside = false;
  return inside;
}

/// Threads that sleep until a loop wants help. Several callers may run loops at a time.
class ThreadPool {
 public:
  /// Made once and never destroyed: its threads may run when the program's last objects are gone.
  static ThreadPool& instance() {
    static ThreadPool* const pool = new ThreadPool;
    return *pool;
  }
  void run(const LoopCut& cut, const LoopBody& body) {
    for (ParallelLoop& loop : loops_) {
      if (!loop.open(cut, body)) continue;
      hire(cut.threads - 1);
      opened_.add(cut.threads - 1);
      inside_loop() = true;
      loop.take_part(0);
      inside_loop() = false;
      return loop.close();
    }
    body.run(body.function, 0, cut.n);  // other callers have them all
  }

 private:
  /// There are so many helpers from now on, or as many as the system allows.
  void hire(int helpers) {
    if (hired_.load(std::memory_order_relaxed) >= helpers) return;
    const std::lock_guard lock(hiring_);
    try {
      for (int h = hired_.load(std::memory_order_relaxed); h < helpers; hired_.store(++h, std::memory_order_relaxed))
        std::thread([this, h] { help(h + 1); }).detach();
    } catch (const std::system_error&) {
      hired_.store(ParallelLoop::most_threads, std::memory_order_relaxed);  // do not ask again
    }
  }
  [[noreturn]] void help(int home) {
    inside_loop() = true;
    for (;;) {
      const std::uint32_t seen = opened_.count();
      const auto loop = std::find_if(loops_.begin(), loops_.end(), [](ParallelLoop& l) { return l.enter(); });
      if (loop == loops_.end()) {
        opened_.wait(seen);
        continue;
      }
      loop->take_part(home);
      loop->leave();
    }
  }

  std::array<ParallelLoop, 8> loops_;
  EventCount opened_;  ///< loops opened
  std::mutex hiring_;
  std::atomic<int> hired_ = 0;
};

}  // namespace lamina::detail
