#include <lamina/kernel/cpu/matmul/matmul.hpp>

#include <array>
#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;
namespace fast = lamina::kernel::detail;
using test::RandomMatrix;

namespace {

/// Every odd way a tile can end, one row and one column, nothing at all, and sizes of real layers.
constexpr std::array<int, 3> sizes[] = {{1, 1, 1},     {0, 5, 7},      {5, 0, 7},     {5, 7, 0},      {1, 300, 129},
                                        {2, 257, 64},  {3, 64, 515},   {4, 97, 1031}, {5, 16, 16},    {6, 17, 33},
                                        {7, 15, 8},    {13, 130, 61},  {64, 96, 128}, {67, 259, 301}, {130, 31, 770},
                                        {515, 70, 40}, {33, 1027, 18}, {1, 77, 4131}};

void check_close(RandomMatrix<float>& got, RandomMatrix<float>& want, RandomMatrix<float>& magnitude, int length) {
  const float tolerance = test::sum_tolerance(length);
  int wrong = 0;
  for (int i = 0; i < want.rows; ++i) {
    for (int j = 0; j < want.cols; ++j) wrong += !(std::fabs(got(i, j) - want(i, j)) <= tolerance * magnitude(i, j));
  }
  CHECK(wrong == 0);
}

template <class W>
void check_forward(int m, int n, int k, float alpha, float beta, bool with_bias) {
  CAPTURE(m, n, k, alpha, beta, with_bias);
  RandomMatrix<float> x(m, k, 1), bias(1, n, 3, 0), y(m, n, 4);
  RandomMatrix<W> w(n, k, 2, 5);
  if (beta == 0) std::fill(y.data.begin(), y.data.end(), NAN);  // beta = 0 must not read y
  RandomMatrix<float> plain = y, again = y, size = beta == 0 ? y : y.magnitude();
  const auto ax = x.magnitude(), abias = bias.magnitude();
  const auto aw = w.magnitude();
  const auto fill = [&](RandomMatrix<float>& to) {
    return MatmulFwd<float>{x, w.weight(), with_bias ? bias.data.data() : nullptr, to, alpha, beta};
  };
  matmul<Cpu>::forward({}, fill(y));
  matmul<Cpu>::forward({}, fill(again));
  plain::matmul_forward(fill(plain));
  plain::matmul_forward(MatmulFwd<float>{{ax.data.data(), m, k, ax.stride},
                                         aw.weight(),
                                         with_bias ? abias.data.data() : nullptr,
                                         size,
                                         std::fabs(alpha),
                                         std::fabs(beta)});
  check_close(y, plain, size, k);
  CHECK(y.same_bits(again));
}

}  // namespace

TEMPLATE_TEST_CASE("matmul: forward equals the specification", "", float, bf16, f16) {
  for (const auto& [m, n, k] : sizes) {
    check_forward<TestType>(m, n, k, 1, 0, false);
    check_forward<TestType>(m, n, k, 1, 0, true);
    check_forward<TestType>(m, n, k, -0.75f, 1, false);
    check_forward<TestType>(m, n, k, 2, 0.5f, true);
  }
}

TEMPLATE_TEST_CASE("matmul: backward_input equals the specification", "", float, bf16, f16) {
  for (const auto& [m, n, k] : sizes) {
    for (const auto& [alpha, beta] : {std::array{1.0f, 0.0f}, {0.5f, 1.0f}, {-2.0f, 0.25f}}) {
      CAPTURE(m, n, k, alpha, beta);
      RandomMatrix<float> dy(m, n, 1), dx(m, k, 3);
      RandomMatrix<TestType> w(n, k, 2, 1);
      if (beta == 0) std::fill(dx.data.begin(), dx.data.end(), NAN);
      RandomMatrix<float> plain = dx, again = dx, size = beta == 0 ? dx : dx.magnitude(), ady = dy.magnitude();
      const auto aw = w.magnitude();
      matmul<Cpu>::backward_input({}, MatmulBwdInput<float>{dy, w.weight(), dx, alpha, beta});
      matmul<Cpu>::backward_input({}, MatmulBwdInput<float>{dy, w.weight(), again, alpha, beta});
      plain::matmul_backward_input(MatmulBwdInput<float>{dy, w.weight(), plain, alpha, beta});
      plain::matmul_backward_input(MatmulBwdInput<float>{ady, aw.weight(), size, std::fabs(alpha), std::fabs(beta)});
      check_close(dx, plain, size, n);
      CHECK(dx.same_bits(again));
    }
  }
}

TEST_CASE("matmul: backward_weight adds to what is there and equals the specification") {
  for (const auto& [m, n, k] : sizes) {
    for (const float alpha : {1.0f, -0.5f}) {
      CAPTURE(m, n, k, alpha);
      RandomMatrix<float> dy(m, n, 1), x(m, k, 2, 4), dw(n, k, 3), db(1, n, 4, 0);
      RandomMatrix<float> plain = dw, again = dw, size = dw.magnitude(), ady = dy.magnitude(), ax = x.magnitude();
      RandomMatrix<float> plain_db = db, again_db = db, size_db = db.magnitude();
      matmul<Cpu>::backward_weight({}, MatmulBwdWeight<float>{dy, x, dw, db.data.data(), alpha});
      matmul<Cpu>::backward_weight({}, MatmulBwdWeight<float>{dy, x, again, again_db.data.data(), alpha});
      plain::matmul_backward_weight(MatmulBwdWeight<float>{dy, x, plain, plain_db.data.data(), alpha});
      plain::matmul_backward_weight(MatmulBwdWeight<float>{ady, ax, size, size_db.data.data(), std::fabs(alpha)});
      check_close(dw, plain, size, m);
      check_close(db, plain_db, size_db, m);
      CHECK(dw.same_bits(again));
      CHECK(db.same_bits(again_db));
    }
  }
}

TEST_CASE("matmul: both gradients match finite differences") {
  RandomMatrix<float> x(9, 21, 1), w(13, 21, 2), dy(9, 13, 3), u(9, 21, 4), r(13, 21, 5);
  RandomMatrix<float> dx(9, 21, 6), dw(13, 21, 7, 0), high(9, 13, 8), low(9, 13, 9);
  std::fill(dw.data.begin(), dw.data.end(), 0.0f);
  matmul<Cpu>::backward_input({}, MatmulBwdInput<float>{.dy = dy, .w = w.weight(), .dx = dx});
  matmul<Cpu>::backward_weight({}, MatmulBwdWeight<float>{.dy = dy, .x = x, .dw = dw});
  const auto slope = [&](RandomMatrix<float> x1, RandomMatrix<float> w1, RandomMatrix<float> x0,
                         RandomMatrix<float> w0) {
    matmul<Cpu>::forward({}, MatmulFwd<float>{.x = x1, .w = w1.weight(), .y = high});
    matmul<Cpu>::forward({}, MatmulFwd<float>{.x = x0, .w = w0.weight(), .y = low});
    return (test::dot(dy, high) - test::dot(dy, low)) / 2;
  };
  // The product is linear in each factor, so a step of 1 has no truncation error: only roundings of 21-term sums
  // remain.
  const double roundings = 9 * 13 * 21 * 4 * test::sum_tolerance(21);
  CHECK(std::fabs(slope(test::moved(x, 1, u), w, test::moved(x, -1, u), w) - test::dot(dx, u)) <= roundings);
  CHECK(std::fabs(slope(x, test::moved(w, 1, r), x, test::moved(w, -1, r)) - test::dot(dw, r)) <= roundings);
}

TEST_CASE("matmul: shapes that disagree and weights of other types are named") {
  RandomMatrix<float> x(2, 3, 1), w(4, 5, 2), y(2, 4, 3);
  CHECK_THROWS_WITH(matmul<Cpu>::forward({}, MatmulFwd<float>{.x = x, .w = w.weight(), .y = y}),
                    "matmul: x is (2, 3), wanted (2, 5)");
  Weight integer = w.weight();
  integer.dtype = DType::I32;
  CHECK_THROWS_WITH(matmul<Cpu>::forward({}, MatmulFwd<float>{.x = x, .w = integer, .y = y}),
                    "matmul: the weight is I32, wanted F32, BF16 or F16, or a quantised one");
}

TEST_CASE("matmul: each instruction set that this CPU has gives the specification's result") {
  using fast::Isa;
  for (const auto& [isa, name] : {std::pair{Isa::plain, "plain"}, {Isa::avx2, "AVX2"}, {Isa::avx512, "AVX-512"}}) {
    if (!fast::cpu_supports(isa)) {
      WARN("SKIPPED: this CPU has no " << name);
      continue;
    }
    for (const auto& [m, n, k] : sizes) {
      CAPTURE(name, m, n, k);
      RandomMatrix<float> x(m, k, 1), y(m, n, 3), plain = y, size = y.magnitude();
      RandomMatrix<f16> w(n, k, 2, 5);
      auto ax = x.magnitude();
      const auto aw = w.magnitude();
      fast::gemm(fast::tile_for(isa), {.rows = m,
                                       .cols = n,
                                       .depth = k,
                                       .a = {x.data.data(), x.stride},
                                       .b = {w.weight(), true},
                                       .c = y.data.data(),
                                       .c_row = y.stride,
                                       .beta = 1});
      plain::matmul_forward(MatmulFwd<float>{.x = x, .w = w.weight(), .y = plain, .beta = 1});
      plain::matmul_forward(MatmulFwd<float>{.x = ax, .w = aw.weight(), .y = size, .beta = 1});
      check_close(y, plain, size, k);
    }
  }
}

TEST_CASE("matmul: rows of dot products give the specification's result without vectors too") {
  for (const auto& [m, n, k] : sizes) {
    CAPTURE(m, n, k);
    RandomMatrix<float> x(m, k, 1), y(m, n, 3), plain = y, size = y.magnitude();
    RandomMatrix<bf16> w(n, k, 2, 5);
    auto ax = x.magnitude();
    const auto aw = w.magnitude();
    fast::dot_rows<bf16>(fast::Isa::plain, {.rows = m,
                                            .cols = n,
                                            .depth = k,
                                            .a = {x.data.data(), x.stride},
                                            .b = {w.weight(), true},
                                            .c = y.data.data(),
                                            .c_row = y.stride,
                                            .beta = 1});
    plain::matmul_forward(MatmulFwd<float>{.x = x, .w = w.weight(), .y = plain, .beta = 1});
    plain::matmul_forward(MatmulFwd<float>{.x = ax, .w = aw.weight(), .y = size, .beta = 1});
    check_close(y, plain, size, k);
  }
}

TEST_CASE("matmul: no CPU rounds activations to bf16 unless LAMINA_CPU_BF16=1 asks for it") {
  if (std::getenv("LAMINA_CPU_BF16")) {
    WARN("SKIPPED: LAMINA_CPU_BF16 is set");
    return;
  }
  CHECK_FALSE(fast::uses_pairs());
}

TEST_CASE("matmul: AVX512-BF16 gives the product of the rounded factors") {
  if (!fast::cpu_supports(fast::Isa::avx512_bf16)) {
    WARN("SKIPPED: this CPU has no AVX512-BF16");
    return;
  }
  for (const auto& [m, n, k] : sizes) {
    if (k % 2) continue;
    CAPTURE(m, n, k);
    RandomMatrix<float> x(m, k, 1), y(m, n, 3), plain = y, size = y.magnitude(), bias(1, n, 4, 0);
    RandomMatrix<bf16> w(n, k, 2, 2);
    fast::gemm_pairs({.rows = m,
                      .cols = n,
                      .depth = k,
                      .a = {x.data.data(), x.stride},
                      .b = {w.weight(), true},
                      .c = y.data.data(),
                      .c_row = y.stride,
                      .alpha = 0.5f,
                      .beta = -1,
                      .bias = bias.data.data()});
    for (float& value : x.data) value = to_f32(round_to<bf16>(value));
    auto ax = x.magnitude(), abias = bias.magnitude();
    const auto aw = w.magnitude();
    plain::matmul_forward(MatmulFwd<float>{x, w.weight(), bias.data.data(), plain, 0.5f, -1});
    plain::matmul_forward(MatmulFwd<float>{ax, aw.weight(), abias.data.data(), size, 0.5f, 1});
    check_close(y, plain, size, k);
  }
}

TEST_CASE("matmul: results do not depend on the number of threads") {
  for (const auto& [m, n, k] : sizes) {
    CAPTURE(m, n, k);
    RandomMatrix<float> x(m, k, 1), w(n, k, 2), y1(m, n, 3), dx1(m, k, 4), dw1(n, k, 5), y2 = y1, dx2 = dx1, dw2 = dw1;
    const auto run = [&](int threads, RandomMatrix<float>& y, RandomMatrix<float>& dx, RandomMatrix<float>& dw) {
      use_threads(threads);
      matmul<Cpu>::forward({}, MatmulFwd<float>{.x = x, .w = w.weight(), .y = y});
      matmul<Cpu>::backward_input({}, MatmulBwdInput<float>{.dy = y, .w = w.weight(), .dx = dx});
      matmul<Cpu>::backward_weight({}, MatmulBwdWeight<float>{.dy = y, .x = x, .dw = dw});
    };
    run(1, y1, dx1, dw1);
    run(3, y2, dx2, dw2);
    CHECK((y1.same_bits(y2) && dx1.same_bits(dx2) && dw1.same_bits(dw2)));
  }
  use_threads(0);
}
