#include <lamina/core/threads.hpp>
#include "support/catch.hpp"

#include <ctime>
#include <latch>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace lamina;

namespace {

/// Sets the number of threads for the length of a scope.
struct Threads {
  explicit Threads(int count) { use_threads(count); }
  ~Threads() { use_threads(0); }
};

/// How often each index in [0, n) was called for.
std::vector<int> calls(std::int64_t n) {
  std::vector<int> seen(static_cast<std::size_t>(n));
  parallel_for(n, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
  return seen;
}

double processor_seconds() {
  timespec t;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

TEST_CASE("threads: a loop calls for every index once, however many threads there are") {
  for (const int threads : {1, 2, 3, 16}) {
    const Threads scope(threads);
    for (const std::int64_t n : {0, 1, 2, 3, 15, 16, 17, 1000}) {
      CAPTURE(threads, n);
      CHECK(calls(n) == std::vector<int>(static_cast<std::size_t>(n), 1));
      std::vector<int> seen(static_cast<std::size_t>(n));
      parallel_for_next(n, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
      CHECK(seen == std::vector<int>(static_cast<std::size_t>(n), 1));
    }
  }
}

TEST_CASE("threads: many short loops in a row") {
  const Threads scope(4);
  std::vector<std::int64_t> sum(64);
  for (int round = 0; round < 2000; ++round)
    parallel_for(std::ssize(sum), [&](std::int64_t i) { sum[static_cast<std::size_t>(i)] += i; });
  for (std::int64_t i = 0; i < std::ssize(sum); ++i) REQUIRE(sum[static_cast<std::size_t>(i)] == 2000 * i);
}

TEST_CASE("threads: a loop inside a loop runs where it is") {
  const Threads scope(3);
  std::vector<int> counts(8), inner(8);
  std::vector<std::vector<std::thread::id>> ids(8);
  parallel_for(8, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    counts[at] = thread_count();
    ids[at].resize(5);
    parallel_for(5, [&](std::int64_t j) { ids[at][static_cast<std::size_t>(j)] = std::this_thread::get_id(); });
    inner[at] = static_cast<int>(std::count(ids[at].begin(), ids[at].end(), std::this_thread::get_id()));
  });
  CHECK(counts == std::vector<int>(8, 1));
  CHECK(inner == std::vector<int>(8, 5));
  CHECK(thread_count() == 3);
}

TEST_CASE("threads: what a loop's body throws reaches the caller, and later loops run") {
  for (const int threads : {1, 4}) {
    const Threads scope(threads);
    for (int round = 0; round < 50; ++round) {
      CHECK_THROWS_AS(parallel_for(100, [](std::int64_t i) { i % 10 == 3 ? throw std::out_of_range("") : void(); }),
                      std::out_of_range);
      CHECK(calls(100) == std::vector<int>(100, 1));
    }
  }
}

TEST_CASE("threads: several callers at a time, more than the pool has loops for") {
  std::vector<std::vector<int>> sums(12, std::vector<int>(100));
  std::vector<std::thread> callers;
  for (std::vector<int>& sum : sums)
    callers.emplace_back([&sum] {
      const Threads scope(3);
      for (int round = 0; round < 200; ++round)
        parallel_for(100, [&](std::int64_t i) { ++sum[static_cast<std::size_t>(i)]; });
    });
  for (std::thread& caller : callers) caller.join();
  for (const std::vector<int>& sum : sums) CHECK(sum == std::vector<int>(100, 200));
}

TEST_CASE("threads: no loop waits for a thread that has not begun") {
  std::latch all_held(4), release(1);
  std::thread holder([&] {  // this thread and three helpers
    const Threads scope(4);
    parallel_for(4, [&](std::int64_t) {
      all_held.count_down();
      release.wait();
    });
  });
  all_held.wait();
  {
    const Threads scope(4);  // the same three: the pool has no others, unless another case wanted more
    CHECK(calls(1000) == std::vector<int>(1000, 1));
  }
  release.count_down();
  holder.join();
}

TEST_CASE("threads: those that wait use no processor time") {
  const Threads scope(4);
  calls(1000);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than they look for work
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(processor_seconds() - before < 0.01);
}

TEST_CASE("threads: OMP_NUM_THREADS as OpenMP reads it") {
  CHECK(detail::threads_asked_for(nullptr) == 0);
  CHECK(detail::threads_asked_for("6") == 6);
  CHECK(detail::threads_asked_for("4,2") == 4);
  CHECK(detail::threads_asked_for("") == 0);
  for (const char* wrong : {"-2", "0", "many", "4x", "4,", ",4", "4,x", " 4", "99999999999999999999"})
    CHECK_THROWS_WITH(detail::threads_asked_for(wrong),
                      std::string("OMP_NUM_THREADS (environment): is ") + wrong + ", wanted a number of threads");
}

TEST_CASE("environment: a switch is 0 or 1") {
  CHECK_FALSE(detail::switched_on("X", nullptr));
  CHECK_FALSE(detail::switched_on("X", ""));
  CHECK_FALSE(detail::switched_on("X", "0"));
  CHECK(detail::switched_on("X", "1"));
  CHECK_THROWS_WITH(detail::switched_on("X", "yes"), "X (environment): is yes, wanted 0 or 1");
}
