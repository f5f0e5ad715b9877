#include <lamina/kernel/cpu/plain.hpp>
#include <lamina/kernel/cuda/logits/head_loss.cuh>

#include <array>
#include "kernel/cuda_matrix.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

namespace {

/// The same problem on the host in fp32 and on the GPU in T.
template <class T, class W>
struct Problem {
  RandomMatrix<T> x, dx;
  RandomMatrix<W> w;
  RandomMatrix<float> dw;
  std::vector<int> target;
  std::vector<float> weight, nll;

  Problem(int rows, int width, int vocab, float largest_weight = 1)
      : x(rows, width, 1, gap(width, true)),
        dx(rows, width, 2),
        w(vocab, width, 4, gap(width, true)),
        dw(vocab, width, 3),
        nll(rows, NAN) {
    std::mt19937 random(5);
    for (int m = 0; m < rows; ++m) {
      target.push_back(static_cast<int>(random() % vocab));
      weight.push_back(static_cast<float>(random() % 8) / 8 * largest_weight);
    }
  }
  HeadLoss<T> on_gpu(bool with_dx = true, bool with_dw = true) const {
    HeadLoss<T> a{.x = upload(x), .w = upload_weight(w)};
    a.target = gpu().upload(target), a.weight = gpu().upload(weight);
    a.nll = gpu().template poisoned<float>(nll.size());
    if (with_dx) a.dx = {gpu().template poisoned<T>(dx.data.size()), dx.rows, dx.cols, dx.stride};
    if (with_dw) a.dw = upload(dw);
    return a;
  }
};

template <class T>
void run(const HeadLoss<T>& a) {
  ExactScratch scratch(head_loss<Cuda>::workspace_bytes(a));
  head_loss<Cuda>::run(scratch.stream(), a);
  gpu().device().wait();
}

/// Logits are sums of `width` terms below 1 in size, rounded to T: the error of one, and of the loss, is at most this.
template <class T>
float logit_error(int width) {
  return static_cast<float>(width) * mma_tolerance(width) + static_cast<float>(width) * rounding<T>;
}

template <class T, class W>
void check(int rows, int width, int vocab, float largest_weight) {
  CAPTURE(rows, width, vocab, largest_weight);
  gpu().release();
  Problem<T, W> p(rows, width, vocab, largest_weight);
  auto x = widened<T>(p.x), w = widened<T>(p.w), dx = widened<T>(p.dx), dw = p.dw;
  plain::head_loss(HeadLoss<float>{x, w.weight(), p.target.data(), p.weight.data(), p.nll.data(), dx, dw});
  const HeadLoss<T> a = p.on_gpu();
  run(a);
  const auto nll = gpu().download(a.nll, p.nll.size());
  auto got_dx = download(a.dx, p.dx);
  auto got_dw = download(a.dw, p.dw);
  const float logit = logit_error<T>(width);
  int wrong_nll = 0, wrong_dx = 0, wrong_dw = 0;
  // |dz error| of one entry: softmax moves by p * 2 * logit, dz is rounded to T (f16: to 2^-25 of the largest too).
  // Over a row, sum |softmax - onehot| <= 2, so dx errs by weight * (2 * logit + 2 * rounding + sums).
  const float row = 4 * logit + 4 * rounding<T> + 2 * mma_tolerance(vocab) + static_cast<float>(vocab) * 0x1p-37f;
  for (int m = 0; m < rows; ++m) {
    wrong_nll += !(std::fabs(nll[m] - p.nll[m]) <= 2 * logit + 0x1p-18f);
    for (int d = 0; d < width; ++d) {
      const float smallest = std::is_same_v<T, f16> ? 0x1p-25f : 0;  // dx itself may be subnormal
      wrong_dx += !(std::fabs(to_f32(got_dx(m, d)) - dx(m, d)) <= largest_weight * row + smallest);
    }
  }
  const float one = 4 * logit + 2 * rounding<T> + 0x1p-37f + mma_tolerance(rows);
  for (int v = 0; v < vocab; ++v) {
    for (int d = 0; d < width; ++d)
      wrong_dw += !(std::fabs(got_dw(v, d) - dw(v, d)) <= static_cast<float>(rows) * largest_weight * one + 0x1p-22f);
  }
  CHECK(wrong_nll == 0);
  CHECK(wrong_dx == 0);
  CHECK(wrong_dw == 0);
  const HeadLoss<T> again = p.on_gpu();
  run(again);
  CHECK(gpu().download(again.nll, nll.size()) == nll);
  CHECK(got_dw.same_bits(download(again.dw, p.dw)));
  auto again_dx = download(again.dx, p.dx);
  CHECK(got_dx.same_bits(again_dx));
}

}  // namespace

TEMPLATE_TEST_CASE("head_loss on CUDA: loss and gradients equal the specification", "[cublaslt]", float, bf16, f16) {
  for (const auto& [rows, width, vocab] :
       {std::array{1, 1, 1}, {3, 17, 4099}, {70, 64, 301}, {130, 33, 1}, {33, 72, 9001}}) {
    check<TestType, TestType>(rows, width, vocab, 1);
    check<TestType, float>(rows, width, vocab, 1);
    check<TestType, TestType>(rows, width, vocab, 0x1p-12f);
    check<TestType, TestType>(rows, width, vocab, 512);
  }
}

TEST_CASE("head_loss on CUDA: a row longer than shared memory gives the same softmax as double precision",
          "[cublaslt]") {
  gpu().release();
  const int vocab = 151'936, rows = 3;
  Problem<bf16, bf16> p(rows, 8, vocab);
  const HeadLoss<bf16> a = p.on_gpu();
  run(a);
  const auto nll = gpu().download(a.nll, rows);
  auto dx = download(a.dx, p.dx);
  for (int m = 0; m < rows; ++m) {
    std::vector<double> z(vocab);
    double sum = 0, at_target = 0, want_dx[8] = {};
    for (int v = 0; v < vocab; ++v) {
      float dot = 0;
      for (int d = 0; d < 8; ++d) dot += to_f32(p.x(m, d)) * to_f32(p.w(v, d));
      sum += z[v] = std::exp(double{to_f32(round_to<bf16>(dot))});
      if (v == p.target[m]) at_target = to_f32(round_to<bf16>(dot));
    }
    for (int v = 0; v < vocab; ++v) {
      for (int d = 0; d < 8; ++d) want_dx[d] += p.weight[m] * (z[v] / sum - (v == p.target[m])) * to_f32(p.w(v, d));
    }
    // A logit within an ulp of a rounding boundary may round the other way: 2^-8 of it, one in thousands.
    CHECK(std::fabs(nll[m] - (std::log(sum) - at_target)) <= 0x1p-7 * std::fabs(at_target) + 1e-4);
    for (int d = 0; d < 8; ++d) CHECK(std::fabs(to_f32(dx(m, d)) - want_dx[d]) <= 0x1p-7 * p.weight[m] + 1e-6);
  }
}

TEST_CASE("head_loss on CUDA: more rows than one chunk of logits holds give the same gradients", "[cublaslt]") {
  gpu().release();
  const int rows = 2500, vocab = 160'000;
  CHECK((head_loss<Cuda>::chunk_rows<bf16>(rows, vocab)) < rows);
  Problem<bf16, bf16> p(rows, 8, vocab);
  HeadLoss<bf16> whole = p.on_gpu(true, false), parts = p.on_gpu(true, false);
  run(whole);
  for (const int first : {0, 1000, 2000}) {
    HeadLoss<bf16> a = parts;
    const int count = std::min(1000, rows - first);
    a.x = a.x.row_range(first, count), a.dx = a.dx.row_range(first, count);
    a.target += first, a.weight += first, a.nll += first;
    run(a);
  }
  const auto nll = gpu().download(whole.nll, rows), part_nll = gpu().download(parts.nll, rows);
  auto dx = download(whole.dx, p.dx), part_dx = download(parts.dx, p.dx);
  int wrong = 0;
  for (int m = 0; m < rows; ++m) {
    wrong += !(std::fabs(nll[m] - part_nll[m]) <= 2 * logit_error<bf16>(8));
    for (int d = 0; d < 8; ++d) wrong += !(std::fabs(to_f32(dx(m, d)) - to_f32(part_dx(m, d))) <= 0x1p-7f);
  }
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("head_loss on CUDA: a frozen head and an evaluation leave the other results as they are",
                   "[cublaslt]", float, bf16, f16) {
  gpu().release();
  Problem<TestType, TestType> p(11, 24, 60);
  const auto all = p.on_gpu(), no_dw = p.on_gpu(true, false);
  auto neither = p.on_gpu(false, false);
  neither.weight = nullptr;
  run(all), run(no_dw), run(neither);
  CHECK(download(all.dx, p.dx).same_bits(download(no_dw.dx, p.dx)));
  CHECK(gpu().download(all.nll, 11) == gpu().download(no_dw.nll, 11));
  CHECK(gpu().download(all.nll, 11) == gpu().download(neither.nll, 11));
}

TEMPLATE_TEST_CASE("head_loss on CUDA: a NaN in a row's input gives a NaN loss for that row alone", "[cublaslt]", float,
                   bf16, f16) {
  gpu().release();
  Problem<TestType, TestType> p(5, 24, 3000);
  p.x(2, 7) = round_to<TestType>(NAN);
  p.x(4, 0) = round_to<TestType>(INFINITY);
  const auto a = p.on_gpu(true, false);
  run(a);
  const auto nll = gpu().download(a.nll, 5);
  auto dx = download(a.dx, p.dx);
  for (const int m : {0, 1, 2, 3, 4}) {
    CAPTURE(m);
    CHECK(std::isfinite(nll[m]) == (m != 2 && m != 4));
    CHECK(std::isfinite(to_f32(dx(m, 3))) == (m != 2 && m != 4));
  }
}

TEST_CASE("head_loss on CUDA: no rows, and shapes that disagree", "[cublaslt]") {
  gpu().release();
  Problem<bf16, bf16> none(0, 8, 5), p(2, 3, 4);
  run(none.on_gpu());
  HeadLoss<bf16> a = p.on_gpu();
  a.w.cols = 5;
  CHECK_THROWS_WITH(run(a), "head_loss: x is (2, 3), wanted (2, 5)");
}

TEMPLATE_TEST_CASE("head_loss on CUDA: hits are those of the logits that it has", "", float, bf16, f16) {
  using T = TestType;
  for (const auto [rows, width, vocab] : {std::array{1, 8, 5}, {9, 64, 301}, {70, 64, 4100}}) {
    CAPTURE(rows, width, vocab);
    gpu().release();
    const Problem<T, float> p(rows, width, vocab);
    HeadLoss<T> a = p.on_gpu(false, false);
    std::vector<int> best(rows);
    for (int m = 0; m < rows; ++m) {  // the label of every other row is the likeliest token, by a margin
      double top = -1e30;
      for (int v = 0; v < vocab; ++v) {
        double z = 0;
        for (int d = 0; d < width; ++d)
          z += double{to_f32(p.x.data[m * p.x.stride + d])} * p.w.data[v * p.w.stride + d];
        if (z > top) top = z, best[m] = v;
      }
      if (m % 2) best[m] = (best[m] + 1) % vocab;
    }
    a.target = gpu().upload(best);
    a.hit = gpu().template poisoned<float>(static_cast<std::size_t>(rows));
    run(a);
    const auto hit = gpu().download(a.hit, rows);
    int wrong = 0;
    for (int m = 0; m < rows; ++m) wrong += hit[m] != (m % 2 ? 0.0f : 1.0f);
    CHECK(wrong <= (sizeof(T) == 2 ? rows / 20 : 0));  // rounding may make two logits equal, or change their order
  }
}
