#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include <lamina/core/log.hpp>
#include <lamina/hub/transport.hpp>

namespace lamina::hub {

/// How often and how patiently something that failed with Temporary is tried again.
struct RetryPolicy {
  int attempts = 6;  ///< without progress between them
  std::chrono::milliseconds first_wait{1000}, longest_wait{30'000};
  std::int64_t longest_asked_s = 300;  ///< a server that asks for more (Retry-After) ends the attempts
  std::function<void(std::chrono::milliseconds)> sleep = [](auto time) { std::this_thread::sleep_for(time); };
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
      note(cat(error.what(), ": trying again"));
      policy.sleep(error.wait_s > 0 ? std::chrono::milliseconds(error.wait_s * 1000) : wait);
      wait = std::min(wait * 2, policy.longest_wait);
    }
}
template <class Attempt>
auto with_retries(const RetryPolicy& policy, Attempt attempt) {
  return with_retries(policy, attempt, [] { return false; });
}

}  // namespace lamina::hub
