#include <lamina/kernel/cuda/elementwise/optimizer.cuh>

#include "kernel/cuda_compare.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

namespace {

Clip clip_of(const RandomMatrix<float>& g, int n, double most) {
  const ClipGradients a{.g = upload(g).data,
                        .n = std::size_t(n),
                        .numbers = gpu().upload(std::vector<OptimizerNumbers>{{.most = most}}),
                        .clip = gpu().upload(std::vector<Clip>{{NAN, NAN, 0}})};
  ExactScratch scratch(optimizer<Cuda>::workspace_bytes(a));
  optimizer<Cuda>::clip(scratch.stream(), a);
  const Clip clip = gpu().download(a.clip, 1)[0];
  CHECK(clip.arrived == 0);
  return clip;
}

/// Where copies are, and the elements between them.
template <class T>
struct Copies {
  std::vector<ValueCopy<T>> table;
  RandomMatrix<T> all;
};
/// Of n values: the first have none, then come two windows of rows next to one another, then one run up to the end.
template <class T>
Copies<T> copies_of(int n) {
  const int first = std::min(n, 8), rows = n / 64, cols = 12, narrow = 7;
  const std::ptrdiff_t stride = cols + narrow + 5;
  auto all = unwritten<T>(1, int(rows * stride) + n, 1);
  Copies<T> c{{}, all};
  T* to = upload(c.all).data;
  const auto add = [&](std::size_t count, T* at, int width, std::ptrdiff_t step, float scale) {
    const std::size_t begin = c.table.empty() ? first : c.table.back().first + c.table.back().count;
    c.table.push_back({begin, count, at, width, step, scale});
  };
  add(std::size_t(rows) * cols, to, cols, stride, 2);
  add(std::size_t(rows) * narrow, to + cols, narrow, stride, 0.5f);
  add(n - first - std::size_t(rows) * (cols + narrow), to + rows * stride, 4096, 4096, 1);
  return c;
}

}  // namespace

TEST_CASE("clip on CUDA: the norm is summed in double, the scale follows it, and what is not finite counts 0") {
  for (const int n : {0, 1, 3, 257, 4096, 1000003}) {
    CAPTURE(n);
    gpu().release();
    RandomMatrix<float> g(1, std::max(n, 1), 1, 0);
    double squares = 0;
    for (int i = 0; i < n; ++i) squares += double{g(0, i)} * g(0, i);
    const double norm = std::sqrt(squares);
    const Clip clip = clip_of(g, n, 0.5);
    CHECK(std::fabs(clip.norm - norm) <= 1e-12 * norm);  // n * 2^-53
    CHECK(clip.scale == static_cast<float>(std::min(1.0, 0.5 / (clip.norm + 1e-6))));
    CHECK(clip_of(g, n, 0.5).norm == clip.norm);
    CHECK(clip_of(g, n, 0).scale == 1);
    if (n == 0) continue;
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      auto h = g;
      h(0, n - 1) = bad;
      const Clip refused = clip_of(h, n, 0.5);
      CHECK_FALSE(std::isfinite(refused.norm));
      CHECK(refused.scale == 0);
    }
  }
}

TEMPLATE_TEST_CASE("adamw on CUDA: one step equals the formula, clears gradients and rounds the copy", "", float, bf16,
                   f16) {
  using T = TestType;
  for (const int n : {0, 1, 5, 256, 1027, 100001}) {
    CAPTURE(n);
    gpu().release();
    RandomMatrix<float> w(1, n, 1, 1), g(1, n, 2, 1), m(1, n, 3, 1), v = RandomMatrix<float>(1, n, 4, 1).magnitude();
    Copies<T> copies = copies_of<T>(n);
    AdamWStep<T> a{.w = upload(w).data, .g = upload(g).data, .m = upload(m).data, .v = upload(v).data};
    const auto runs = value_runs({0, std::size_t(n)}, {{std::size_t(n) / 2}, {std::size_t(n), 1, false}}, copies.table);
    a.runs = gpu().upload(runs), a.count = int(runs.size());
    const OptimizerNumbers o{.b1 = 0.9f,
                             .b2 = 0.999f,
                             .rest1 = 0.1f,
                             .rest2 = 0.001f,
                             .eps = 1e-8f,
                             .decay = 0.99f,
                             .step_size = 1e-2f,
                             .v_correction = 0.9f};
    const float scale = 0.25f;
    a.numbers = gpu().upload(std::vector<OptimizerNumbers>{o});
    a.clip = gpu().upload(std::vector<Clip>{{4.0, scale}});
    optimizer<Cuda>::adamw(gpu().stream(), a);
    const auto matrix = [&](float* p) { return download(Matrix<float>(p, 1, n, n + 1), w); };
    auto w_got = matrix(a.w), g_got = matrix(a.g), m_got = matrix(a.m), v_got = matrix(a.v);
    const auto m_want = [&](int i) { return double{o.b1} * m(0, i) + double{o.rest1} * g(0, i) * scale; };
    const auto v_want = [&](int i) { return double{o.b2} * v(0, i) + double{o.rest2} * std::pow(g(0, i) * scale, 2); };
    CHECK(count_far(m_got, 4, [&](int, int i) { return Expected{m_want(i), 1}; }) == 0);
    CHECK(count_far(v_got, 4, [&](int, int i) { return Expected{v_want(i), v_want(i)}; }) == 0);
    CHECK(count_far(w_got, 8, [&](int, int i) {
            const double step = double{o.step_size} * m_want(i) / (std::sqrt(v_want(i)) / o.v_correction + o.eps);
            const double rounded = o.step_size * 0x1p-22 / (std::sqrt(v_want(i)) / o.v_correction + o.eps);  // m's
            const double kept = w(0, i) * (i < n / 2 ? double{o.decay} : 1.0);
            return Expected{kept - step, std::fabs(kept) + std::fabs(step) + rounded * 0x1p24};
          }) == 0);
    CHECK(count_unequal(g_got, [](int, int) { return 0.0f; }) == 0);
    auto copy_want = copies.all;
    for (const ValueCopy<T>& c : copies.table)
      for (std::size_t i = 0; i < c.count; ++i)
        copy_want.data[c.to - copies.table[0].to + i / c.cols * c.stride + i % c.cols] =
            round_to<T>(c.scale * w_got(0, int(c.first + i)));
    CHECK(download(Matrix<T>(copies.table[0].to, 1, copies.all.cols), copies.all).same_bits(copy_want));
  }
}

TEST_CASE("adamw on CUDA: a norm that is not finite leaves everything as it was") {
  gpu().release();
  RandomMatrix<float> w(1, 1000, 1, 0);
  AdamWStep<bf16> a{.w = upload(w).data, .g = upload(w).data, .m = upload(w).data, .v = upload(w).data};
  const auto runs = value_runs<bf16>({0, 1000}, {{1000, 1, false}}, {});
  a.runs = gpu().upload(runs), a.count = int(runs.size());
  a.numbers = gpu().upload(std::vector<OptimizerNumbers>(1));
  a.clip = gpu().upload(std::vector<Clip>{{INFINITY, 0}});
  optimizer<Cuda>::adamw(gpu().stream(), a);
  for (float* p : {a.w, a.m, a.v}) CHECK(download(Matrix<float>(p, 1, 1000), w).same_bits(w));
}
