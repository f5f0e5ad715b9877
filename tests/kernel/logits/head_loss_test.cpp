#include <lamina/kernel/cpu/logits/head_loss.hpp>
#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;
namespace fast = lamina::kernel::detail;
using test::RandomMatrix;

namespace {

template <class W>
struct Problem {
  RandomMatrix<float> x, dx, dw;
  RandomMatrix<W> w;
  std::vector<int> target;
  std::vector<float> weight, nll;
  TokenLoss loss;
  Problem(int rows, int width, int vocab)
      : x(rows, width, 1), dx(rows, width, 2), dw(vocab, width, 3), w(vocab, width, 4, 2), nll(rows, NAN) {
    std::mt19937 random(5);
    for (int m = 0; m < rows; ++m) {
      target.push_back(static_cast<int>(random() % vocab));
      weight.push_back(static_cast<float>(random() % 8) / 8);
    }
  }
  HeadLoss<float> arguments() { return {x, w.weight(), target.data(), weight.data(), nll.data(), dx, dw, loss}; }
};

float distance(RandomMatrix<float>& a, RandomMatrix<float>& b) {
  float most = 0;
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < a.cols; ++j) {
      const float d = std::fabs(a(i, j) - b(i, j));
      if (!(d <= most)) most = d;
    }
  }
  return most;
}

}  // namespace

TEMPLATE_TEST_CASE("head_loss: loss and gradients equal the specification", "", float, bf16, f16) {
  for (const auto [rows, width, vocab] : {std::array{1, 1, 1}, {0, 8, 5}, {3, 17, 4099}, {70, 64, 301}, {130, 33, 1}}) {
    CAPTURE(rows, width, vocab);
    Problem<TestType> fast(rows, width, vocab), again(rows, width, vocab), plain(rows, width, vocab);
    head_loss<Cpu>::run({}, fast.arguments());
    head_loss<Cpu>::run({}, again.arguments());
    plain::head_loss(plain.arguments());
    // A logit is a sum of `width` terms below 1; dz moves by twice its error; dx adds vocab, dw adds rows of them.
    // With LAMINA_CPU_BF16=1, x may be rounded to bf16 against a bf16 weight: up to 2^-9 of each term.
    const bool rounds = std::is_same_v<TestType, bf16> && fast::uses_pairs();
    const float logit =
        static_cast<float>(width) * (test::sum_tolerance(width) + (rounds ? 0x1p-9f : 0)) + 8 * 0x1p-24f * 12;
    for (int m = 0; m < rows; ++m) CHECK(std::fabs(fast.nll[m] - plain.nll[m]) <= 4 * logit);
    CHECK(distance(fast.dx, plain.dx) <= 4 * logit + 2 * test::sum_tolerance(vocab));
    CHECK(distance(fast.dw, plain.dw) <= 2 * logit * static_cast<float>(rows) + 2 * test::sum_tolerance(rows + 1));
    CHECK((fast.dx.same_bits(again.dx) && fast.dw.same_bits(again.dw)));
  }
}

TEST_CASE("head_loss: more rows than one chunk of logits holds give the same gradients") {
  Problem<bf16> whole(1300, 4, 16000), halves(1300, 4, 16000);  // 83 MB of logits, beyond head_loss::workspace_bytes
  static_assert(1300 * 16000 * 4LL > head_loss<Cpu>::workspace_bytes);
  head_loss<Cpu>::run({}, whole.arguments());
  for (const int first : {0, 650}) {
    auto a = halves.arguments();
    a.x = a.x.row_range(first, 650), a.dx = a.dx.row_range(first, 650);
    a.target += first, a.weight += first, a.nll += first;
    head_loss<Cpu>::run({}, a);
  }
  for (std::size_t m = 0; m < whole.nll.size(); ++m) {
    CHECK(std::fabs(whole.nll[m] - halves.nll[m]) <= 4 * 4 * test::sum_tolerance(4) + 0x1p-20f);
  }
  CHECK(distance(whole.dx, halves.dx) <= 2 * test::sum_tolerance(16000));
  CHECK(distance(whole.dw, halves.dw) <= 2 * test::sum_tolerance(1300));
}

TEST_CASE("head_loss: smoothed labels and losses weighed by probability equal the specification") {
  for (const TokenLoss how : {TokenLoss{.smoothing = 0.1f}, TokenLoss{.by_probability = true}}) {
    CAPTURE(how.smoothing);
    Problem<float> fast(70, 64, 301), plain(70, 64, 301);
    fast.loss = plain.loss = how;
    head_loss<Cpu>::run({}, fast.arguments());
    plain::head_loss(plain.arguments());
    const float logit = 64 * test::sum_tolerance(64) + 8 * 0x1p-24f * 12;
    for (int m = 0; m < 70; ++m) CHECK(std::fabs(fast.nll[m] - plain.nll[m]) <= 16 * logit);
    CHECK(distance(fast.dx, plain.dx) <= 8 * logit + 2 * test::sum_tolerance(301));
    CHECK(distance(fast.dw, plain.dw) <= 4 * logit * 70 + 2 * test::sum_tolerance(71));
  }
}

TEST_CASE("head_loss: gradients match finite differences") {
  Problem<float> p(6, 9, 23);
  p.loss.smoothing = GENERATE(0.0f, 0.2f);
  std::fill(p.dw.data.begin(), p.dw.data.end(), 0.0f);
  head_loss<Cpu>::run({}, p.arguments());
  const auto loss = [](Problem<float> at) {
    auto a = at.arguments();
    a.dx = {}, a.dw = {};
    head_loss<Cpu>::run({}, a);
    double sum = 0;
    for (std::size_t m = 0; m < at.nll.size(); ++m) sum += double{at.weight[m]} * at.nll[m];
    return sum;
  };
  const auto check = [&](RandomMatrix<float> Problem<float>::*which, RandomMatrix<float>& gradient) {
    RandomMatrix<float> u(gradient.rows, gradient.cols, 9);
    const auto central = [&](float h) {
      Problem<float> high = p, low = p;
      high.*which = test::moved(p.*which, h, u), low.*which = test::moved(p.*which, -h, u);
      return (loss(high) - loss(low)) / (2.0 * h);
    };
    const double slope = (4 * central(0x1p-4f) - central(0x1p-3f)) / 3;  // error O(h^4) and roundings / h
    CHECK(std::fabs(slope - test::dot(gradient, u)) <= 1e-3);
  };
  check(&Problem<float>::x, p.dx);
  check(&Problem<float>::w, p.dw);
}

TEST_CASE("head_loss: a frozen head and an evaluation leave the other results as they are") {
  Problem<float> all(11, 20, 60), no_dw(11, 20, 60), neither(11, 20, 60);
  head_loss<Cpu>::run({}, all.arguments());
  auto a = no_dw.arguments();
  a.dw = {};
  head_loss<Cpu>::run({}, a);
  CHECK(no_dw.dx.same_bits(all.dx));
  CHECK(no_dw.nll == all.nll);
  a = neither.arguments();
  a.dw = {}, a.dx = {}, a.weight = nullptr;
  head_loss<Cpu>::run({}, a);
  CHECK(neither.nll == all.nll);
}

TEST_CASE("head_loss: a target outside the vocabulary is named") {
  Problem<float> p(2, 3, 4);
  p.target[1] = 4;
  CHECK_THROWS_WITH(head_loss<Cpu>::run({}, p.arguments()),
                    "head_loss: target 4 of row 1 is outside the vocabulary of 4");
}
