#include <lamina/kernel/cpu/attention/softmax.hpp>
#include "support/catch.hpp"

#include <vector>

using namespace lamina::kernel::detail;

TEST_CASE("softmax: fast_exp is within 2 units in the last place and keeps what is not finite") {
  double worst = 0;
  for (int i = -8'700'000; i <= 8'800'000; i += 7) {
    const float x = static_cast<float>(i) * 1e-5f;
    const double want = std::exp(static_cast<double>(x));
    const double unit = std::ldexp(1.0, std::ilogb(want) - 23);
    worst = std::max(worst, std::fabs(fast_exp(x) - want) / unit);
  }
  CHECK(worst <= 2);
  CHECK(fast_exp(0.0f) == 1.0f);
  CHECK(fast_exp(-87.1f) == 0.0f);
  CHECK(fast_exp(-INFINITY) == 0.0f);
  CHECK(std::isnan(fast_exp(NAN)));
}

TEST_CASE("softmax: the largest entry is found at every length and a NaN reaches the sum") {
  for (int n = 0; n < 70; ++n) {
    for (int at = 0; at < n; ++at) {
      std::vector<float> x(n, -2.0f);
      x[at] = 3.0f;
      REQUIRE(row_max(x.data(), n) == 3.0f);
      x[at] = NAN;
      REQUIRE(std::isnan(exp_row(x.data(), n, -2.0f)));
    }
    std::vector<float> ones(n, 5.0f);
    REQUIRE(exp_row(ones.data(), n, 5.0f) == static_cast<float>(n));
  }
  CHECK(row_max(nullptr, 0) == -INFINITY);
}
