#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>

#include <lamina/io/program/progress_bar.hpp>

namespace lamina::hub {

/// "512 B", "1.53 GB": powers of 1000, as the hubs count.
inline std::string size_text(double bytes) {
  const char* unit = "B";
  for (const char* larger : {"kB", "MB", "GB", "TB"}) {
    if (bytes < 999.5) break;
    bytes /= 1000, unit = larger;
  }
  return *unit == 'B' ? fmt::format("{:.0f} {}", bytes, unit) : fmt::format("{:.3g} {}", bytes, unit);
}

/// Bytes per second of late: a connection that stalls has no known time left.
class RecentRate {
 public:
  /// At this second so many bytes have come. Seconds only grow.
  void add(double second, double bytes) {
    samples_.push_back({second, bytes});
    while (samples_.size() > 2 && samples_[1].second <= second - window_s) samples_.pop_front();
  }
  double value() const {
    if (samples_.size() < 2) return 0;
    const double seconds = samples_.back().second - samples_.front().second;
    return seconds > 0 ? std::max(0.0, samples_.back().bytes - samples_.front().bytes) / seconds : 0;
  }

 private:
  static constexpr double window_s = 10;
  struct Sample {
    double second, bytes;
  };
  std::deque<Sample> samples_;
};

/// How long a transfer still takes; "?" if nothing comes, and ">1 day" beyond a day, since such a rate will not stay.
inline std::string left_text(double bytes, double rate) {
  if (rate <= 0) return "?";
  return bytes / rate > 86'400 ? ">1 day" : io::bar_clock(bytes / rate);
}

/// " 42%|████▏     | 1.53 GB/4.26 GB [00:31<00:57, 48 MB/s]". rate: bytes per second; at 0 the time left is "?".
inline std::string transfer_text(double done, double total, double rate, double seconds) {
  return cat(io::bar_of(total > 0 ? std::clamp(done / total, 0.0, 1.0) : 1), " ", size_text(done), "/",
             size_text(total), " [", io::bar_clock(seconds), "<", left_text(total - done, rate), ", ", size_text(rate),
             "/s]");
}

/// ", nothing came for 12 s (attempt 2 of 6)"; "" in the first seconds. attempt: 0 if it is the first.
inline std::string silence_text(double seconds, int attempt, int attempts) {
  constexpr double usual_s = 3;
  if (seconds < usual_s) return "";
  return cat(", nothing came for ", static_cast<int>(seconds), " s",
             attempt > 0 ? cat(" (attempt ", attempt, " of ", attempts, ")") : "");
}

/// Shows on stderr how far a download is: a bar that redraws itself on a terminal, a line every half minute elsewhere.
/// A short download shows nothing but its end on a terminal.
class TransferProgress {
 public:
  explicit TransferProgress(std::uint64_t total)
      : total_(total), thread_([this](std::stop_token stop) { run(stop); }) {}
  ~TransferProgress() {
    thread_.request_stop();
    thread_.join();
    const double seconds = gone();
    if (terminal_)
      std::clog << "\r" << text(seconds > 0 ? static_cast<double>(fetched_) / seconds : 0) << "\x1b[K" << std::endl;
  }

  /// Bytes that an earlier run has left.
  void found(std::int64_t bytes) { done_ += bytes; }
  /// Bytes that came; negative if some were thrown away.
  void add(std::int64_t bytes) {
    done_ += bytes, fetched_ += bytes;
    if (bytes > 0) last_bytes_ = gone(), attempt_ = 0;
  }
  /// Another attempt for a file is waited for.
  void next_attempt(int attempt, int attempts) { attempt_ = attempt, attempts_ = attempts; }

 private:
  using Clock = std::chrono::steady_clock;

  double gone() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  std::string text(double rate) const {
    return transfer_text(static_cast<double>(done_), static_cast<double>(total_), rate, gone());
  }
  void run(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(30'000);
    RecentRate rate;
    rate.add(0, 0);
    while (!changed.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); }) && !stop.stop_requested()) {
      rate.add(gone(), static_cast<double>(fetched_));
      std::clog << (terminal_ ? "\r" : "") << text(rate.value())
                << silence_text(gone() - last_bytes_, attempt_, attempts_) << (terminal_ ? "\x1b[K" : "\n")
                << std::flush;
    }
  }

  const std::uint64_t total_;
  const bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  const Clock::time_point begin_ = Clock::now();
  std::atomic<std::int64_t> done_ = 0, fetched_ = 0;
  std::atomic<double> last_bytes_ = 0;  ///< seconds after begin_
  std::atomic<int> attempt_ = 0, attempts_ = 0;
  std::jthread thread_;  // last: it reads the others
};

}  // namespace lamina::hub
