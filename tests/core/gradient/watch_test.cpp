#include <lamina/core/gradient/watch.hpp>

#include <array>
#include <vector>

#include "support/catch.hpp"

using namespace lamina;

namespace {
struct Listener : GradientWatch {
  using GradientWatch::GradientWatch;
  void ready(int run) override { heard.push_back(run); }
  std::vector<int> heard;
};
}  // namespace

TEST_CASE("GradientWatch: runs are reported in their order, each once all of its gradients are final") {
  std::array<Parameter, 6> p;
  Listener watch(p.data(), {2, GradientWatch::no_run, 1, 1, 0, 2});
  REQUIRE(watch.runs() == 3);
  for (int backward = 0; backward < 2; ++backward) {
    watch.heard.clear();
    watch.begin();
    watch.gradients_final(&p[2], 2);  // run 1, but run 0 comes first
    CHECK(watch.heard.empty());
    watch.gradients_final(&p[4], 1);
    CHECK(watch.heard == std::vector{0, 1});
    watch.gradients_final(&p[0], 2);
    watch.gradients_final(&p[0], 5);  // heard before
    CHECK(watch.heard == std::vector{0, 1});
    watch.gradients_final(&p[5], 1);
    CHECK(watch.heard == std::vector{0, 1, 2});
    watch.end();
    CHECK(watch.heard == std::vector{0, 1, 2});
  }
}

TEST_CASE("GradientWatch: what a backward does not mention is final at its end") {
  std::array<Parameter, 3> p;
  Listener watch(p.data(), {2, 1, 0});
  watch.begin();
  watch.gradients_final(&p[2], 1);
  watch.end();
  CHECK(watch.heard == std::vector{0, 1, 2});
}
