#include <algorithm>
#include <cmath>
#include <limits>

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
    for (int n = 0; mistake == 4 && dx && n < dx.rows; ++n)
      for (int i = 0; i < dx.cols; ++i) dx(n, i) *= 1.003f;
    if (mistake == 5 && dx) dx(dx.rows - 1, dx.cols) = 1;  // beyond the end
    if (mistake == 6 && dx) dx(0, 0) = std::numeric_limits<float>::quiet_NaN();
  }
};

/// Correct layers whose derivatives jump or bend: |x|, max(x, 0), its square, tanh(16 x), x exp(-32 x^2).
template <int kind>
struct Pointwise {
  using In = Shape<Dyn, 8>;
  using Out = Shape<Dyn, 8>;
  using params = ParamList<>;
  static constexpr Traits traits{};
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;
  static float value(float x) {
    const float t = std::max(x, 0.0f);
    return kind == 0   ? std::abs(x)
           : kind == 1 ? t
           : kind == 2 ? t * t
           : kind == 3 ? std::tanh(16 * x)
                       : x * std::exp(-32 * x * x);
  }
  static float slope(float x) {
    const float t = std::tanh(16 * x), bell = std::exp(-32 * x * x);
    return kind == 0   ? (x < 0 ? -1.0f : 1.0f)
           : kind == 1 ? (x > 0 ? 1.0f : 0.0f)
           : kind == 2 ? 2 * std::max(x, 0.0f)
           : kind == 3 ? 16 * (1 - t * t)
                       : bell * (1 - 64 * x * x);
  }
  template <class R, class S, class X, class Y>
  static void forward(R, const Parameter*, S& saved, X x, Y y) {
    saved.x = x;
    for (int n = 0; n < x.rows; ++n)
      for (int i = 0; i < x.cols; ++i) y(n, i) = value(x(n, i));
  }
  template <class R, class S, class DY, class DX>
  static void backward(R, const Parameter*, S& saved, DY dy, DX dx) {
    for (int n = 0; dx && n < dy.rows; ++n)
      for (int i = 0; i < dy.cols; ++i) dx(n, i) = dy(n, i) * slope(saved.x(n, i));
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
TEST_CASE("DoraLinear: dx and the magnitudes' gradient match finite differences, with dropout and without") {
  // The norms count as constant in backward, so A and B differ: adapter/dora_linear_test.cpp.
  const auto wrong = [](const testing::GradientReport& report) {
    CHECK(report.broken.empty());
    return report.wrong();
  };
  const std::vector<std::string> low = {"lora_A.weight", "lora_B.weight"};
  CHECK(wrong(testing::check_gradients<DoraLinear<Linear<7, 9, Bias>, Rank<2>, Alpha<4>>>()) == low);
  CHECK(wrong(testing::check_gradients<DoraLinear<Linear<7, 9>, Rank<Dyn>, Alpha<Dyn>>>({.dropout = 0.3f})) == low);
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
TEST_CASE("check_gradients: correct layers that bend or jump are not called wrong") {
  const auto check_all = [](auto kind) {
    for (std::uint64_t seed = 1; seed <= 9; ++seed) {
      CAPTURE(decltype(kind)::value, seed);
      check<Pointwise<decltype(kind)::value>>({.seed = seed});
    }
  };
  check_all(std::integral_constant<int, 0>{}), check_all(std::integral_constant<int, 1>{});
  check_all(std::integral_constant<int, 2>{}), check_all(std::integral_constant<int, 3>{});
  check_all(std::integral_constant<int, 4>{});
}
TEST_CASE("check_gradients: a factor of 0.3 % is found and named; so are NaN, and writes beyond the end") {
  const auto report = testing::check_gradients<Mistaken<RMSNorm<12>, 4>>();
  CHECK(report.wrong() == std::vector<std::string>{"dx"});
  CHECK(report.text().find("it is 1.003 times the finite difference: a factor is missing") != std::string::npos);
  CHECK(testing::check_gradients<Mistaken<RMSNorm<12>, 5>>().text().find("something is written before or after dx") !=
        std::string::npos);
  CHECK(testing::check_gradients<Mistaken<RMSNorm<12>, 6>>().text().find("it has NaN") != std::string::npos);
}
TEST_CASE("check_gradients: moves as many elements of each tensor as it is asked to") {
  const auto report = testing::check_gradients<Linear<40, 30>>({.samples = 7});
  CHECK(report.passed());
  for (const auto& q : report.quantities) CHECK(q.elements == 7);
}
