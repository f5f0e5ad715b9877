#include <lamina/io/keys/range.hpp>

#include "support/catch.hpp"

using namespace lamina;

TEST_CASE("Range: its ends are in it unless it says otherwise, and its words say so") {
  CHECK(io::at_least(1).holds(1));
  CHECK_FALSE(io::at_least(1).holds(0.999));
  CHECK(io::at_least(1).text() == "at least 1");
  CHECK_FALSE(io::positive.holds(0));
  CHECK(io::positive.text() == "a positive number");
  CHECK(io::proportion.holds(0));
  CHECK_FALSE(io::proportion.holds(1));
  CHECK(io::proportion.text() == "0 up to below 1");
  CHECK(io::between(-1, 1 << 30).text() == "a number in [-1, 1073741824]");
  CHECK((io::Range{.least = 0, .most = 1, .above = true}).text() == "above 0 up to 1");
  CHECK((io::Range{.most = 1e6}).holds(-1));
  CHECK((io::Range{.most = 1e6}).text() == "at most 1000000");
  CHECK_FALSE(io::positive.holds(std::numeric_limits<double>::quiet_NaN()));
}
