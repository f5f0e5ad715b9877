#include <lamina/kernel/cpu/attention/attention.hpp>
#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;
using test::RandomMatrix;

namespace {

struct Case {
  std::vector<int> cu_q, cu_k;
  AttentionShape shape;
};

/// Empty and one-token sequences, lengths around every block size, chunks against longer caches, one query (decode).
const Case cases[] = {
    {{0, 1}, {0, 1}, {1, 1, 8, 0.3f, true}},
    {{0, 0, 1, 1, 6}, {0, 0, 1, 1, 6}, {4, 2, 16, 0.25f, true}},
    {{0, 63, 128, 193}, {0, 63, 128, 193}, {4, 1, 32, 0.18f, true}},
    {{0, 300, 301}, {0, 300, 301}, {2, 2, 20, 0.22f, true}},
    {{0, 300, 301}, {0, 300, 301}, {2, 2, 20, 0.22f, false}},
    {{0, 513}, {0, 513}, {3, 1, 80, 0.11f, false}},
    {{0, 1, 2, 3}, {0, 700, 701, 1301}, {8, 2, 64, 0.125f, true}},
    {{0, 70, 71}, {0, 400, 700}, {4, 2, 128, 0.088f, true}},
    {{0, 2, 5}, {0, 9, 9}, {2, 1, 8, 0.35f, false}},      // the last three queries have no keys
    {{0, 5}, {0, 3}, {2, 1, 8, 0.35f, true}},             // nor do the first two of these
    {{0, 9, 40}, {0, 9, 40}, {2, 1, 8, 0.35f, true, 1}},  // windows: of one key, across blocks, of all, of a cache
    {{0, 500, 633}, {0, 500, 633}, {4, 2, 32, 0.18f, true, 130}},
    {{0, 90}, {0, 90}, {2, 2, 16, 0.25f, true, 1000}},
    {{0, 70, 71}, {0, 400, 700}, {4, 2, 64, 0.125f, true, 100}},
};

struct Problem {
  Case c;
  RandomMatrix<float> q, k, v, o;
  std::vector<float> lse;
  explicit Problem(const Case& given)
      : c(given),
        q(c.cu_q.back(), c.shape.heads * c.shape.head_dim, 1),
        k(c.cu_k.back(), c.shape.kv_heads * c.shape.head_dim, 2, 7),
        v(c.cu_k.back(), c.shape.kv_heads * c.shape.head_dim, 3, 1),
        o(c.cu_q.back(), c.shape.heads * c.shape.head_dim, 4),
        lse(static_cast<std::size_t>(c.cu_q.back()) * c.shape.heads, NAN) {}
  AttentionFwd<float> forward() {
    return {q, k, v, o, lse.data(), c.cu_q.data(), c.cu_k.data(), static_cast<int>(c.cu_q.size()) - 1, c.shape};
  }
};

/// Scores are sums of head_dim terms below 1, so with scale s each is off by at most s * head_dim * tolerance; a
/// softmax moves by at most twice that, and the roundings of a sum of `keys` probabilities come on top.
float output_tolerance(const Case& c) {
  const int dh = c.shape.head_dim;
  return 2 * c.shape.scale * static_cast<float>(dh) * test::sum_tolerance(dh) + 2 * test::sum_tolerance(c.cu_k.back());
}

float distance(RandomMatrix<float>& a, RandomMatrix<float>& b) {
  float most = 0;
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < a.cols; ++j) {
      const float d = std::fabs(a(i, j) - b(i, j));
      if (!(d <= most)) most = d;  // a NaN is the worst distance
    }
  }
  return most;
}

struct Gradients {
  RandomMatrix<float> dout, dq, dk, dv;
  explicit Gradients(Problem& p)
      : dout(p.q.rows, p.q.cols, 5),
        dq(p.q.rows, p.q.cols, 6),
        dk(p.k.rows, p.k.cols, 7, 2),
        dv(p.v.rows, p.v.cols, 8) {}
  AttentionBwd<float> backward(Problem& p) {
    AttentionBwd<float> a{
        p.q,      p.k, p.v, p.o, dout, p.lse.data(), dq, dk, dv, p.c.cu_q.data(), static_cast<int>(p.c.cu_q.size()) - 1,
        p.c.shape};
    if (p.c.cu_k != p.c.cu_q) a.cu_k = p.c.cu_k.data();
    return a;
  }
};

}  // namespace

TEST_CASE("attention: forward equals the specification, and itself on three threads") {
  for (const Case& c : cases) {
    CAPTURE(c.cu_q, c.cu_k, c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.causal);
    Problem fast(c), again(c), plain(c);
    attention<Cpu>::forward({}, fast.forward());
    use_threads(3);
    attention<Cpu>::forward({}, again.forward());
    use_threads(0);
    plain::attention_forward(plain.forward());
    CHECK(distance(fast.o, plain.o) <= output_tolerance(c));
    CHECK(fast.o.same_bits(again.o));
    CHECK(std::memcmp(fast.lse.data(), again.lse.data(), fast.lse.size() * 4) == 0);
    for (std::size_t i = 0; i < fast.lse.size(); ++i) {
      if (std::isinf(plain.lse[i]))
        CHECK(fast.lse[i] == plain.lse[i]);
      else
        CHECK(std::fabs(fast.lse[i] - plain.lse[i]) <= output_tolerance(c) * (1 + std::fabs(plain.lse[i])));
    }
  }
}

TEST_CASE("attention: a null lse is not written") {
  Problem with(cases[2]), without(cases[2]);
  attention<Cpu>::forward({}, with.forward());
  auto arguments = without.forward();
  arguments.lse = nullptr;
  attention<Cpu>::forward({}, arguments);
  CHECK(with.o.same_bits(without.o));
}

TEST_CASE("attention: scores far apart neither overflow nor lose a row") {
  Case c = cases[3];
  c.shape.scale = 500;
  Problem fast(c), plain(c);
  attention<Cpu>::forward({}, fast.forward());
  plain::attention_forward(plain.forward());
  CHECK(distance(fast.o, plain.o) <= output_tolerance(c));
}

TEST_CASE("attention: backward equals the specification, and itself on three threads") {
  for (const Case& c : cases) {
    CAPTURE(c.cu_q, c.cu_k, c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.causal);
    Problem p(c);
    attention<Cpu>::forward({}, p.forward());
    Gradients fast(p), again(p), plain(p);
    attention<Cpu>::backward({}, fast.backward(p));
    use_threads(3);
    attention<Cpu>::backward({}, again.backward(p));
    use_threads(0);
    plain::attention_backward(plain.backward(p));
    // dS is a difference of two sums of head_dim terms, each below head_dim; dk and dv add group * length of them.
    const int dh = c.shape.head_dim, terms = std::max(c.cu_q.back(), c.cu_k.back()) * c.shape.heads / c.shape.kv_heads;
    const float tolerance = output_tolerance(c) * static_cast<float>(dh) + 2 * test::sum_tolerance(terms);
    CHECK(distance(fast.dq, plain.dq) <= tolerance);
    CHECK(distance(fast.dk, plain.dk) <= tolerance);
    CHECK(distance(fast.dv, plain.dv) <= tolerance);
    CHECK((fast.dq.same_bits(again.dq) && fast.dk.same_bits(again.dk) && fast.dv.same_bits(again.dv)));
  }
}

TEST_CASE("attention: backward matches finite differences") {
  for (const bool causal : {true, false}) {
    Problem p({{0, 5, 12}, {0, 5, 12}, {4, 2, 8, 0.35f, causal}});
    attention<Cpu>::forward({}, p.forward());
    Gradients g(p);
    attention<Cpu>::backward({}, g.backward(p));
    const auto loss = [&](Problem at) {
      attention<Cpu>::forward({}, at.forward());
      return test::dot(g.dout, at.o);
    };
    const auto check = [&](RandomMatrix<float> Problem::*which, RandomMatrix<float>& gradient) {
      RandomMatrix<float> u(gradient.rows, gradient.cols, 9);
      const auto central = [&](float h) {
        Problem high = p, low = p;
        high.*which = test::moved(p.*which, h, u), low.*which = test::moved(p.*which, -h, u);
        return (loss(high) - loss(low)) / (2.0 * h);
      };
      // Richardson: error O(h^4), h = 1/16, and roundings of 384 outputs near 1 divided by h.
      const double slope = (4 * central(0x1p-4f) - central(0x1p-3f)) / 3;
      CHECK(std::fabs(slope - test::dot(gradient, u)) <= 1e-3);
    };
    check(&Problem::q, g.dq);
    check(&Problem::k, g.dk);
    check(&Problem::v, g.dv);
  }
}

TEST_CASE("attention: heads that do not divide are named") {
  Problem p(cases[0]);
  auto arguments = p.forward();
  arguments.shape.kv_heads = 2, arguments.shape.heads = 3;
  CHECK_THROWS_WITH(attention<Cpu>::forward({}, arguments),
                    "attention: 3 heads of 8 over 2 kv heads; wanted positive counts and heads a multiple of kv heads");
}
