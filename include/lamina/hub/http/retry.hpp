#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include <lamina/core/log.hpp>
#include <lamina/hub/http/transport.hpp>
#include <lamina/io/program/interrupt.hpp>

namespace lamina::hub {

/// Waits, unless the user asks to stop.
inline void interruptible_sleep(std::chrono::milliseconds time) {
  for (const auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end;) {
    io::stop_if_interrupted();
    std::this_thread::sleep_for(std::min(time, std::chrono::milliseconds(100)));
  }
}

/// "3600 s"; beyond a day ">1 day", since the exact number helps nobody.
inline std::string long_time(std::int64_t seconds) { return seconds > 86'400 ? ">1 day" : cat(seconds, " s"); }

/// How patient a client is, and how often it tries again what failed with Temporary.
struct RetryPolicy {
  int attempts = 6;                                   ///< without progress between them,
  std::chrono::milliseconds longest_silence{90'000};  ///< and no more after so long without, waits for a server aside
  std::chrono::milliseconds first_wait{1000}, longest_wait{30'000};
  std::int64_t longest_asked_s = 300;                  ///< a server that asks for more (Retry-After) ends the attempts
  std::chrono::milliseconds longest_answer{120'000};   ///< of an attempt to get what is not a file, redirects included
  std::chrono::milliseconds longest_listing{600'000};  ///< of all pages together
  std::function<void(std::chrono::milliseconds)> sleep = interruptible_sleep;
};

/// Follows attempts that fail.
struct AttemptWatch {
  using Time = std::chrono::steady_clock::time_point;
  /// When the last attempt brought something worthwhile, so that the count begins anew; nothing if it did not.
  std::function<std::optional<Time>()> last_progress = [] { return std::nullopt; };
  /// The attempt that is waited for next: 2, 3, ... of how many.
  std::function<void(int, int)> next_attempt = [](int, int) {};
};

/// Calls attempt() until it returns, and passes its result on. Temporary if it has failed too often or for too long, or
/// if the server asks for too long a wait.
template <class Attempt>
auto with_retries(const RetryPolicy& policy, Attempt attempt, const AttemptWatch& watch = {}) {
  auto wait = policy.first_wait;
  auto silent_since = std::chrono::steady_clock::now();
  for (int failed = 0;;) try {
      return attempt();
    } catch (const Temporary& error) {
      const auto give_up = [&](const std::string& reason) {
        throw Temporary(cat(error.what(), reason), error.wait_s, error.status);
      };
      if (const auto progress = watch.last_progress()) failed = 0, wait = policy.first_wait, silent_since = *progress;
      const auto silence = std::chrono::steady_clock::now() - silent_since;
      if (++failed >= policy.attempts || silence >= policy.longest_silence)
        give_up(cat(" (", failed, failed == 1 ? " attempt)" : " attempts)"));
      if (error.wait_s > policy.longest_asked_s) give_up(cat(": the server asks to wait ", long_time(error.wait_s)));
      const auto asked = std::chrono::milliseconds(error.wait_s * 1000);
      const auto pause = error.wait_s > 0 ? asked : wait;
      note(cat(error.what(), ": trying again in ", pause.count() / 1000, " s (attempt ", failed + 1, " of ",
               policy.attempts, ")"));
      watch.next_attempt(failed + 1, policy.attempts);
      policy.sleep(pause);
      silent_since += asked;
      wait = std::min(wait * 2, policy.longest_wait);
    }
}

}  // namespace lamina::hub
