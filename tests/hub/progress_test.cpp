#include <lamina/hub/progress.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;

TEST_CASE("Progress: the rate is that of late, and a transfer that stalls has no time left to tell") {
  hub::RecentRate rate;
  CHECK(rate.value() == 0);
  rate.add(0, 0);
  for (int second = 1; second <= 60; ++second) rate.add(second, second * 1e6);
  CHECK(rate.value() == 1e6);
  CHECK(contains(hub::transfer_text(60e6, 120e6, rate.value(), 60), "[01:00<01:00, 1 MB/s]"));
  for (int second = 61; second <= 80; ++second) rate.add(second, 60e6);
  CHECK(rate.value() == 0);
  CHECK(contains(hub::transfer_text(60e6, 120e6, rate.value(), 80), "[01:20<?, 0 B/s]"));
  rate.add(81, 0);  // a file began anew
  CHECK(rate.value() == 0);
}

TEST_CASE("Progress: the time left is told up to a day") {
  CHECK(hub::left_text(86'400, 1) == "1 day, 0:00:00");
  CHECK(hub::left_text(86'399, 1) == "23:59:59");
  CHECK(hub::left_text(1e9, 100) == ">1 day");
  CHECK(hub::left_text(1e9, 0) == "?");
}

TEST_CASE("Progress: a transfer that stalls says for how long, and which attempt is next") {
  CHECK(hub::silence_text(2.9, 0, 0) == "");
  CHECK(hub::silence_text(12.7, 0, 0) == ", nothing came for 12 s");
  CHECK(hub::silence_text(31, 2, 6) == ", nothing came for 31 s (attempt 2 of 6)");
}
