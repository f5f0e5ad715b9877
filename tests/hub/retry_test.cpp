#include <lamina/hub/http/retry.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::testing;
using namespace std::chrono_literals;

namespace {

/// The error of attempts that all fail, each after a time.
std::string error_after(const hub::RetryPolicy& policy, std::chrono::milliseconds each, const hub::Temporary& failure,
                        const hub::AttemptWatch& watch = {}) {
  return error_of([&] {
    hub::with_retries(
        policy,
        [&] {
          std::this_thread::sleep_for(each);
          throw hub::Temporary(failure);
        },
        watch);
  });
}

}  // namespace

TEST_CASE("Retry: each attempt is announced with its number and the wait before it") {
  std::vector<int> told;
  std::string error;
  const std::string notes = notes_of([&] {
    error = error_after({.attempts = 3, .sleep = [](auto) {}}, 0ms, hub::Temporary("x"),
                        {.next_attempt = [&](int attempt, int of) {
                          told.insert(told.end(), {attempt, of});
                        }});
  });
  CHECK(notes ==
        "note: x: trying again in 1 s (attempt 2 of 3)\n"
        "note: x: trying again in 2 s (attempt 3 of 3)\n");
  CHECK(error == "x (3 attempts)");
  CHECK(told == std::vector<int>{2, 3, 3, 3});
}

TEST_CASE("Retry: silence ends the attempts, however many are left; bytes and what a server asks for do not count") {
  hub::RetryPolicy policy{.longest_silence = 50ms, .sleep = [](auto) {}};
  notes_of([&] {
    CHECK(error_after(policy, 60ms, hub::Temporary("x")) == "x (1 attempt)");
    CHECK(error_after(policy, 30ms, hub::Temporary("x")) == "x (2 attempts)");
    CHECK(error_after(policy, 15ms, hub::Temporary("busy", 1, 429)) == "busy (6 attempts)");
    int worthwhile = 2;
    const auto progress = [&]() -> std::optional<hub::AttemptWatch::Time> {
      return worthwhile-- > 0 ? std::optional(std::chrono::steady_clock::now()) : std::nullopt;
    };
    CHECK(error_after(policy, 60ms, hub::Temporary("x"), {.last_progress = progress}) == "x (2 attempts)");
    CHECK(worthwhile == -1);
  });
}

TEST_CASE("Retry: a wait that is too long is not waited for, and an absurd one is not repeated") {
  const hub::RetryPolicy policy{.sleep = [](auto) { FAIL(); }};
  CHECK(error_after(policy, 0ms, hub::Temporary("x", 3600, 429)) == "x: the server asks to wait 3600 s");
  CHECK(error_after(policy, 0ms, hub::Temporary("x", 1'000'000'000, 503)) == "x: the server asks to wait >1 day");
}
