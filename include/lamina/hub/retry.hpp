#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include <lamina/core/log.hpp>
#include <lamina/hub/transport.hpp>
#include <lamina/io/interrupt.hpp>

namespace lamina::hub {

/// Waits, unless the user asks to stop.
inline void interruptible_sleep(std::chrono::milliseconds time) {
  for (const auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end;) {
    io::stop_if_interrupted();
    std::this_thread::sleep_for(std::min(time, std::chrono::milliseconds(100)));
  }
}

/// How patient a client is, and how often it tries again what failed with Temporary.
struct RetryPolicy {
  int attempts = 6;  ///< without progress between them
  std::chrono::milliseconds first_wait{1000}, longest_wait{30'000};
  std::int64_t longest_asked_s = 300;                  ///< a server that asks for more (Retry-After) ends the attempts
  std::chrono::milliseconds longest_answer{120'000};   ///< of an attempt to get what is not a file, redirects included
  std::chrono::milliseconds longest_listing{600'000};  ///< of all pages together
  std::function<void(std::chrono::milliseconds)> sleep = interruptible_sleep;
};

/// Calls attempt() until it returns, and passes its result on. progress(): whether the last attempt brought something,
/// so that the count begins anew.
template <class Attempt, class Progress>
auto with_retries(const RetryPolicy& policy, Attempt attempt, Progress progress) {
  auto wait = policy.first_wait;
  for (int failed = 0;;) try {
      return attempt();
    } catch (const Temporary& error) {
      if (progress()) failed = 0, wait = policy.first_wait;
      if (++failed >= policy.attempts) throw Temporary(cat(error.what(), " (", failed, " attempts)"));
      if (error.wait_s > policy.longest_asked_s)
        fail(error.what(), ": the server asks to wait ", error.wait_s, " s: try again then");
      note(cat(error.what(), ": trying again", error.wait_s > 0 ? cat(" in ", error.wait_s, " s") : ""));
      policy.sleep(error.wait_s > 0 ? std::chrono::milliseconds(error.wait_s * 1000) : wait);
      wait = std::min(wait * 2, policy.longest_wait);
    }
}
template <class Attempt>
auto with_retries(const RetryPolicy& policy, Attempt attempt) {
  return with_retries(policy, attempt, [] { return false; });
}

}  // namespace lamina::hub
