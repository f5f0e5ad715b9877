#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include <lamina/engine/statistics.hpp>

namespace lamina::serve {

/// Requests by route, method and class of status, and how long they took to the head of their answer, as
/// prometheus_fastapi_instrumentator counts them. What the table of routes does not know is one route, so that clients
/// cannot make the list long. Any thread.
class HttpCounts {
 public:
  using Clock = std::chrono::steady_clock;
  struct Key {
    std::string handler, method;
    auto operator<=>(const Key&) const = default;
  };
  struct Counts {
    std::array<std::uint64_t, 6> by_class{};  ///< [status / 100]
    engine::Histogram seconds{{.1, .5, 1}};
  };

  void add(const Key& key, int status, Clock::duration took) {
    const std::lock_guard lock(mutex_);
    Counts& counts = counts_[key];
    ++counts.by_class.at(static_cast<std::size_t>(status) / 100 % 6);
    counts.seconds.add(std::chrono::duration<double>(took).count());
  }
  std::map<Key, Counts> snapshot() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<Key, Counts> counts_;
};

}  // namespace lamina::serve
