#pragma once
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <functional>

namespace lamina::testing {

/// Processor time of this thread, in seconds: what else the machine does hardly counts.
inline double thread_cpu_s() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Makes the work for a size; calling the result does it.
using Work = std::function<std::function<void()>(std::size_t)>;

/// How many times more processor time a size four times larger takes: 4 if work is linear, 16 if it is quadratic.
/// The least of several runs each.
inline double growth_of_fourfold(const Work& work, std::size_t size) {
  const auto least = [&](std::size_t n) {
    const auto run = work(n);
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
      const double before = thread_cpu_s();
      run();
      best = std::min(best, thread_cpu_s() - before);
    }
    return best;
  };
  return least(4 * size) / std::max(least(size), 1e-5);
}

/// Below it work is n log n at most: 3 per doubling, compared with 4 of quadratic work.
inline constexpr double most_growth = 9;

}  // namespace lamina::testing
