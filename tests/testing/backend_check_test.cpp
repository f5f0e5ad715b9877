#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/testing/backend_check.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {
LAMINA_NAME(first);
/// Gradients of its second row count twice.
struct Uneven : Linear<6, 4> {
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    static int calls = 0;  // the first run is the CPU's
    Linear<6, 4>::backward(run, p, saved, dy, dx);
    if (++calls == 2) p[0].grad[7] *= 2;
  }
};
}  // namespace

TEST_CASE("check_backends: a backend agrees with itself, and what differs is named") {
  const auto same =
      testing::check_backends<Chain<Named<first, RMSNorm<6>>, Named<name::proj, Linear<6, 4, Bias>>>, float, Cpu>(
          {.rows = 7});
  INFO(same.text());
  CHECK(same.passed());
  CHECK(same.quantities.size() == 5);  // y, dx, three parameters
  CHECK(testing::check_backends<Uneven, float, Cpu>({.rows = 7}).wrong() == std::vector<std::string>{"weight"});
}
