#include <lamina/compose/attention.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/layer.hpp>
#include <lamina/testing/gradient_check.hpp>

#include "support/catch.hpp"

using namespace lamina;

/// The layer with a mistake in its backward.
template <class L, int mistake>
struct Mistaken : L {
  template <class Mode>
  static constexpr Saves saves{.input = mistake != 3 && L::template saves<Mode>.input};
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    L::backward(run, p, saved, dy, dx);
    if (mistake == 0 && dx) dx(1, 2) *= 1.01f;
    if (mistake == 1) p[0].grad[3] += 0.1f;
    if (mistake == 2 && dx) saved.x = dx;
  }
};

template <class Layer>
void check(const testing::GradientOptions& options = {}) {
  const testing::GradientReport report = testing::check_gradients<Layer>(options);
  INFO(report.text());
  CHECK(report.passed());
}

TEST_CASE("RMSNorm: backward matches finite differences") { check<RMSNorm<12>>(); }
TEST_CASE("LayerNorm: backward matches finite differences") { check<LayerNorm<12>>(); }
TEST_CASE("Linear: backward matches finite differences, with bias and without") {
  check<Linear<7, 9>>();
  check<Linear<7, 9, Bias>>();
}
TEST_CASE("SiluGate: backward matches finite differences") { check<SiluGate<6>>(); }
TEST_CASE("GELU: both forms' backward matches finite differences") {
  check<Gelu::layer<8>>();
  check<GeluTanh::layer<8>>();
}
TEST_CASE("AttentionCore: backward matches finite differences, grouped, causal, normed, windowed") {
  using MRoPE = InterleavedMRoPE<10000, Section<2, 1, 1>>;
  check<AttentionCore<Heads<2, 2, 8>, Bidirectional, RoPE2D>>();
  check<AttentionCore<Heads<4, 2, 8>, Causal, MRoPE>>();
  check<
      AttentionCore<Heads<4, 2, 8>, Causal, MRoPE, Named<name::q_norm, RMSNorm<8>>, Named<name::k_norm, RMSNorm<8>>>>();
  check<AttentionCore<Heads<2, 2, 8>, WindowedExcept<1>, RoPE2D>>();
}
TEST_CASE("AdaptedLinear: backward matches finite differences, with dropout and without") {
  check<AdaptedLinear<Linear<7, 9, Bias>, Rank<2>, Alpha<4>>>();
  check<AdaptedLinear<Linear<7, 9>, Rank<Dyn>, Alpha<Dyn>>>();
  check<AdaptedLinear<Linear<7, 9>, Rank<Dyn>, Alpha<Dyn>>>({.dropout = 0.3f});
}
TEST_CASE("LearnedPosition: backward matches finite differences") { check<LearnedPosition<9, 4>>(); }
TEST_CASE("JoinRows: backward matches finite differences") { check<JoinRows<4, 3>>(); }

TEST_CASE("check_gradients: names the gradient that is wrong") {
  const auto wrong = [](const testing::GradientReport& report) { return report.wrong(); };
  using Layer = RMSNorm<12>;
  CHECK(wrong(testing::check_gradients<Mistaken<Layer, -1>>()).empty());
  CHECK(wrong(testing::check_gradients<Mistaken<Layer, 0>>()) == std::vector<std::string>{"dx"});
  CHECK(wrong(testing::check_gradients<Mistaken<Layer, 1>>()) == std::vector<std::string>{"weight"});
}
TEST_CASE("check_gradients: sees a layer that spoils what it saved, or reads what it did not keep") {
  CHECK_FALSE(testing::check_gradients<Mistaken<RMSNorm<12>, 2>>().broken.empty());
  CHECK_FALSE(testing::check_gradients<Mistaken<RMSNorm<12>, 3>>().passed());
}
