#pragma once
#include <lamina/core/machine/environment.hpp>
#include <lamina/core/machine/resources.hpp>
#include <lamina/core/threads/pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace lamina {

namespace detail {

/// available_processors(), asked again every second: a container's quota may change while it runs.
class ProcessorCount {
 public:
  int get() {
    const std::int64_t now = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::seconds(1);
    if (std::int64_t read = read_at_.load(); read != now && read_at_.compare_exchange_strong(read, now))
      count_.store(available_processors());
    return count_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<int> count_ = available_processors();
  std::atomic<std::int64_t> read_at_ = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::seconds(1);
};

inline int& own_thread_count() {
  static thread_local int count = 0;
  return count;
}

inline void run_loop(const LoopCut& cut, const LoopBody& body) {
  if (cut.threads > 1) return ThreadPool::instance().run(cut, body);
  if (cut.n > 0) body.run(body.function, 0, cut.n);
}
template <class F>
LoopBody body_of(F& f) {
  return {[](void* function, std::int64_t first, std::int64_t last) {
            for (std::int64_t i = first; i < last; ++i) (*static_cast<F*>(function))(i);
          },
          &f};
}

}  // namespace detail

/// Threads that a parallel loop of this thread uses: what use_threads() said, else OMP_NUM_THREADS, else every
/// processor that this process may use; 1 inside a parallel loop.
inline int thread_count() {
  if (detail::inside_loop()) return 1;
  if (const int own = detail::own_thread_count()) return own;
  static const int asked =
      static_cast<int>(std::min<std::int64_t>(threads_variable(), detail::ParallelLoop::most_threads));
  static detail::ProcessorCount processors;
  return asked > 0 ? asked : processors.get();
}

/// From here on the parallel loops of this thread use so many threads; 0: as many as without this call.
inline void use_threads(int count) {
  detail::own_thread_count() = std::clamp(count, 0, detail::ParallelLoop::most_threads);
}
/// For workers, which are many themselves, and next to a GPU, if the processors are left to the workers.
inline void use_one_thread() { use_threads(1); }

namespace detail {
inline int threads_for(std::int64_t n) {
  return static_cast<int>(std::min<std::int64_t>(n, n > 1 ? thread_count() : 1));
}
}  // namespace detail

/// Calls f(i) for i in [0, n) on all threads. f must write only what belongs to its i: then the result does not depend
/// on the number of threads. Of what f throws, the first is thrown here when all threads are done; then some i may not
/// have been called for.
template <class F>
void parallel_for(std::int64_t n, F f) {
  const int threads = detail::threads_for(n);
  constexpr int chunks = 8;  // of a share: one slow thread holds up little of the whole
  detail::run_loop({.n = n,
                    .chunk = std::max<std::int64_t>(1, n / std::max(1, threads * chunks)),
                    .shares = threads,
                    .threads = threads},
                   detail::body_of(f));
}

/// parallel_for for work of unequal cost, the dearest first: each thread that is free takes the next i.
template <class F>
void parallel_for_next(std::int64_t n, F f) {
  detail::run_loop({.n = n, .chunk = 1, .shares = 1, .threads = detail::threads_for(n)}, detail::body_of(f));
}

}  // namespace lamina
