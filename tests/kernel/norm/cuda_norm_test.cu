#include <lamina/kernel/cuda/norm/norm_rope.cuh>
#include <lamina/kernel/cuda/norm/norm_rows.cuh>

#include <array>
#include "kernel/cuda_compare.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

namespace {

/// rows, width: every form of the kernels (a warp per row, a block per row, single elements), and the sizes of models.
constexpr std::array<int, 2> sizes[] = {
    {0, 64},   {1, 8},      {5, 7},    {3, 130},  {9, 128},  {300, 256}, {67, 1000}, {33, 1024}, {5, 1152}, {200, 1280},
    {9, 2048}, {700, 2048}, {7, 2055}, {3, 3584}, {5, 4096}, {3, 4608},  {2, 8192},  {2, 16384}, {1, 16383}};

/// A thread adds up at most 64 elements, then lanes 5 times and warps at most 16: 85 roundings of a sum of positive
/// terms, and a few of what surrounds it.
constexpr double sum_steps = 96;

/// A row's mean (0 if it is not subtracted) and 1 / sqrt(variance + eps).
struct Statistics {
  double mean, r;
};
template <class T>
Statistics statistics(RandomMatrix<T>& x, int n, bool centred, double eps) {
  double mean = 0, squares = 0;
  for (int i = 0; centred && i < x.cols; ++i) mean += to_f32(x(n, i)) / double(x.cols);
  for (int i = 0; i < x.cols; ++i) squares += (to_f32(x(n, i)) - mean) * (to_f32(x(n, i)) - mean);
  return {mean, 1 / std::sqrt(squares / x.cols + eps)};
}

template <class T>
T* optional(RandomMatrix<T>& m, bool wanted) {
  return wanted ? upload(m).data : nullptr;
}

template <class T>
void check_norm_forward(int rows, int width, bool centred, bool adds, int gap) {
  CAPTURE(rows, width, centred, adds, gap);
  gpu().release();
  constexpr float eps = 1e-6f;
  RandomMatrix<T> x(rows, width, 1, 0), s(rows, width, 2, 0), g(1, width, 3, 0), b(1, width, 4, 0);
  for (T& v : x.data) v = round_to<T>(to_f32(v) + (centred ? 2.0f : 0.0f));
  auto sum = s;
  for (std::size_t i = 0; i < s.data.size(); ++i) sum.data[i] = round_to<T>(to_f32(s.data[i]) + to_f32(x.data[i]));
  auto& normed = adds ? sum : x;
  const auto rows_f = unwritten<float>(1, rows, 0);
  const Matrix<float> r = upload(rows_f), mean = upload(rows_f);
  const T *on_gpu = upload(x).data, *gain = upload(g).data, *offset = upload(b).data;
  auto y = run_twice(unwritten<T>(rows, width, gap), [&](Matrix<T> to) {
    T* s_on_gpu = optional(s, adds);
    norm_rows<Cuda>::forward(gpu().stream(), NormRowsFwd<T>{.x = on_gpu,
                                                            .g = gain,
                                                            .b = centred ? offset : nullptr,
                                                            .s = s_on_gpu,
                                                            .y = to.data,
                                                            .mean = centred ? mean.data : nullptr,
                                                            .r = r.data,
                                                            .rows = rows,
                                                            .width = width,
                                                            .y_stride = to.stride,
                                                            .centred = centred,
                                                            .eps = eps});
    if (!adds) return;
    auto s_after = download(Matrix<T>(s_on_gpu, rows, width), s);
    CHECK(count_unequal(s_after, [&](int i, int j) { return to_f32(sum(i, j)); }) == 0);
  });
  std::vector<Statistics> stats;
  for (int n = 0; n < rows; ++n) stats.push_back(statistics(normed, n, centred, eps));
  CHECK(count_far(y, sum_steps, [&](int n, int i) {
          const double xhat = (to_f32(normed(n, i)) - stats[n].mean) * stats[n].r, gain_i = to_f32(g(0, i));
          const double terms = (std::fabs(to_f32(normed(n, i))) + std::fabs(stats[n].mean)) * stats[n].r;
          const double b_i = centred ? to_f32(b(0, i)) : 0;
          return Expected{gain_i * xhat + b_i, std::fabs(gain_i) * terms + std::fabs(b_i)};
        }) == 0);
  auto r_got = download(r, rows_f);
  CHECK(count_far(r_got, sum_steps, [&](int, int n) { return Expected{stats[n].r, 4 * stats[n].r}; }) == 0);
  if (!centred) return;
  auto mean_got = download(mean, rows_f);
  CHECK(count_far(mean_got, sum_steps, [&](int, int n) { return Expected{stats[n].mean, 3}; }) == 0);
}

template <class T>
void check_norm_backward(int rows, int width, bool centred, bool adds) {
  CAPTURE(rows, width, centred, adds);
  gpu().release();
  RandomMatrix<T> x(rows, width, 1, 0), dy(rows, width, 2, 0), residual(rows, width, 3, 0), g(1, width, 4, 0);
  RandomMatrix<float> dg(1, width, 5, 0), db(1, width, 6, 0), r(1, rows, 0, 0), mean(1, rows, 0, 0);
  for (int n = 0; n < rows; ++n) {
    const Statistics s = statistics(x, n, centred, 1e-6);
    r(0, n) = static_cast<float>(s.r), mean(0, n) = static_cast<float>(s.mean);
  }
  NormRowsBwd<T> a{.x = upload(x).data,
                   .g = upload(g).data,
                   .dy = upload(dy).data,
                   .residual = optional(residual, adds),
                   .mean = optional(mean, centred),
                   .r = upload(r).data,
                   .rows = rows,
                   .width = width,
                   .centred = centred};
  const auto run = [&](Matrix<T> to, float* dg_to, float* db_to) {
    a.dx = to.data, a.dg = dg_to, a.db = centred ? db_to : nullptr;
    ExactScratch scratch(norm_rows<Cuda>::workspace_bytes(a));
    norm_rows<Cuda>::backward(scratch.stream(), a);
    gpu().device().wait();
  };
  auto dx = run_twice(unwritten<T>(rows, width, 0), [&](Matrix<T> to) { run(to, nullptr, nullptr); });
  auto db_got = db;
  auto dg_got = run_twice(dg, [&](Matrix<float> to) {
    const Matrix<float> db_to = upload(db);
    const Matrix<T> dx_to = upload(unwritten<T>(rows, width, 0));
    run(dx_to, to.data, db_to.data);
    CHECK(download(dx_to, dx).same_bits(dx));
    db_got = download(db_to, db);
  });
  auto alone = run_twice(dg, [&](Matrix<float> to) { run({}, to.data, upload(db).data); });
  CHECK(alone.same_bits(dg_got));

  const auto xhat = [&](int n, int i) { return (to_f32(x(n, i)) - (centred ? mean(0, n) : 0.0)) * r(0, n); };
  const auto h = [&](int n, int i) { return double{to_f32(g(0, i))} * to_f32(dy(n, i)); };
  struct Row {
    double sum = 0, dot = 0, sum_size = 0, dot_size = 0;
  };
  std::vector<Row> of(rows);
  for (int n = 0; n < rows; ++n) {
    for (int i = 0; i < width; ++i) {
      const double dot = h(n, i) * xhat(n, i) / width, sum = centred ? h(n, i) / width : 0;
      of[n].sum += sum, of[n].dot += dot, of[n].sum_size += std::fabs(sum), of[n].dot_size += std::fabs(dot);
    }
  }
  CHECK(count_far(dx, sum_steps, [&](int n, int i) {
          const double more = adds ? to_f32(residual(n, i)) : 0, scale = r(0, n);
          return Expected{
              more + scale * (h(n, i) - of[n].sum - xhat(n, i) * of[n].dot),
              std::fabs(more) + scale * (std::fabs(h(n, i)) + of[n].sum_size + std::fabs(xhat(n, i)) * of[n].dot_size)};
        }) == 0);
  const auto column = [&](RandomMatrix<float>& start, int i, auto term) {
    Expected e{start(0, i), std::fabs(start(0, i))};
    for (int n = 0; n < rows; ++n) e.value += term(n), e.magnitude += std::fabs(term(n));
    return e;
  };
  const double steps = rows + 8;  // additions one after the other, at worst
  CHECK(count_far(dg_got, steps, [&](int, int i) {
          return column(dg, i, [&](int n) { return to_f32(dy(n, i)) * xhat(n, i); });
        }) == 0);
  if (!centred) return;
  CHECK(count_far(db_got, steps,
                  [&](int, int i) { return column(db, i, [&](int n) { return double{to_f32(dy(n, i))}; }); }) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("norms on CUDA: forward, alone and after an addition, equals the formula", "", float, bf16, f16) {
  for (const auto& [rows, width] : sizes)
    for (const bool centred : {false, true})
      for (const bool adds : {false, true}) {
        check_norm_forward<TestType>(rows, width, centred, adds, 0);
        check_norm_forward<TestType>(rows, width, centred, adds, 8);
        check_norm_forward<TestType>(rows, width, centred, adds, 3);
      }
}
TEMPLATE_TEST_CASE("norms on CUDA: backward, with and without a residual, equals the formula", "", float, bf16, f16) {
  for (const auto& [rows, width] : sizes)
    for (const bool centred : {false, true})
      for (const bool adds : {false, true}) check_norm_backward<TestType>(rows, width, centred, adds);
}

namespace {

struct RopeCase {
  int tokens, heads, head_dim, gap;
  bool norm;
};
constexpr RopeCase rope_cases[] = {{0, 2, 64, 0, true},  {1, 1, 64, 0, true},   {9, 16, 128, 0, true},
                                   {9, 3, 128, 8, true}, {70, 8, 128, 3, true}, {5, 16, 64, 0, false},
                                   {5, 5, 72, 0, false}, {7, 3, 80, 16, true},  {17, 2, 256, 0, true},
                                   {4, 3, 6, 1, true},   {600, 4, 128, 0, true}};

template <class T>
struct Rope {
  RopeCase c;
  int half = c.head_dim / 2, width = c.heads * c.head_dim;
  RandomMatrix<T> x{c.tokens, width, 1, c.gap}, g{1, c.head_dim, 2, 0};
  RandomMatrix<float> cos{c.tokens, half, 3, 0}, sin{c.tokens, half, 4, 0};
  static constexpr float eps = 1e-6f;

  double scale(int n, int head) {
    double squares = 0;
    for (int d = 0; d < c.head_dim; ++d) squares += std::pow(to_f32(x(n, head * c.head_dim + d)), 2);
    return c.norm ? 1 / std::sqrt(squares / c.head_dim + eps) : 1;
  }
  double gain(int d) { return c.norm ? to_f32(g(0, d)) : 1; }
};

// A lane adds up at most 16 squares, lanes 5 times; what surrounds that is 10 operations.
constexpr double rope_steps = 32;

template <class T>
void check_rope_forward(const RopeCase& c) {
  CAPTURE(c.tokens, c.heads, c.head_dim, c.gap, c.norm);
  gpu().release();
  Rope<T> at{c};
  NormRopeFwd<T> a{.g = optional(at.g, c.norm), .cos = upload(at.cos), .sin = upload(at.sin)};
  a.head_dim = c.head_dim, a.eps = at.eps;
  const Matrix<T> x = upload(at.x);
  auto y = run_twice(unwritten<T>(c.tokens, at.width, c.gap), [&](Matrix<T> to) {
    a.x = x, a.y = to;
    norm_rope<Cuda>::forward(gpu().stream(), a);
  });
  auto in_place = run_twice(at.x, [&](Matrix<T> to) {
    a.x = to, a.y = to;
    norm_rope<Cuda>::forward(gpu().stream(), a);
  });
  CHECK(in_place.same_bits(y));
  CHECK(count_far(y, rope_steps, [&](int n, int i) {
          const int head = i / c.head_dim, d = i % c.head_dim, j = d % at.half, first = head * c.head_dim;
          const double r = at.scale(n, head), lo = at.gain(j) * to_f32(at.x(n, first + j)) * r;
          const double hi = at.gain(j + at.half) * to_f32(at.x(n, first + j + at.half)) * r;
          const double cos = at.cos(n, j), sin = at.sin(n, j);
          const double p = d < at.half ? lo * cos : hi * cos, q = d < at.half ? -hi * sin : lo * sin;
          return Expected{p + q, std::fabs(p) + std::fabs(q)};
        }) == 0);
}

template <class T>
void check_rope_backward(const RopeCase& c) {
  CAPTURE(c.tokens, c.heads, c.head_dim, c.gap, c.norm);
  gpu().release();
  Rope<T> at{c};
  RandomMatrix<T> dy(c.tokens, at.width, 5, c.gap);
  RandomMatrix<float> dg(1, c.head_dim, 6, 0);
  NormRopeBwd<T> a{.x = upload(at.x), .g = optional(at.g, c.norm), .cos = upload(at.cos), .sin = upload(at.sin)};
  a.head_dim = c.head_dim, a.eps = at.eps;
  const auto run = [&](Matrix<const T> from, Matrix<T> to, float* dg_to) {
    a.dy = from, a.dx = to, a.dg = dg_to;
    ExactScratch scratch(norm_rope<Cuda>::workspace_bytes(a));
    norm_rope<Cuda>::backward(scratch.stream(), a);
    gpu().device().wait();
  };
  const Matrix<T> dy_on_gpu = upload(dy);
  auto dx = run_twice(unwritten<T>(c.tokens, at.width, c.gap), [&](Matrix<T> to) { run(dy_on_gpu, to, nullptr); });
  auto dg_got = dg;
  if (c.norm)
    dg_got = run_twice(dg, [&](Matrix<float> to) {
      const Matrix<T> in_place = upload(dy);
      run(in_place, in_place, to.data);
      CHECK(download(in_place, dx).same_bits(dx));
    });
  // With h the gradient turned back: dx = r (g h - xhat mean(g h xhat)), dg = sum of h xhat.
  RandomMatrix<float> dg_size = dg.magnitude();
  std::vector<double> dg_want(dg.data.begin(), dg.data.end()), dg_magnitude(dg_size.data.begin(), dg_size.data.end());
  std::vector<Expected> want(std::size_t(c.tokens) * at.width);
  for (int n = 0; n < c.tokens; ++n)
    for (int head = 0; head < c.heads; ++head) {
      const int first = head * c.head_dim;
      const double r = at.scale(n, head);
      std::vector<Expected> h(c.head_dim);
      double mean = 0, mean_size = 0;
      for (int d = 0; d < c.head_dim; ++d) {
        const int j = d % at.half;
        const double lo = to_f32(dy(n, first + j)), hi = to_f32(dy(n, first + j + at.half));
        const double p = (d < at.half ? lo : hi) * at.cos(n, j), q = (d < at.half ? hi : -lo) * at.sin(n, j);
        h[d] = {p + q, std::fabs(p) + std::fabs(q)};
        const double xhat = to_f32(at.x(n, first + d)) * r;
        mean += at.gain(d) * h[d].value * xhat / c.head_dim;
        mean_size += std::fabs(at.gain(d) * xhat) * h[d].magnitude / c.head_dim;
        dg_want[d] += h[d].value * xhat, dg_magnitude[d] += h[d].magnitude * std::fabs(xhat);
      }
      for (int d = 0; d < c.head_dim; ++d) {
        const double xhat = to_f32(at.x(n, first + d)) * r;
        want[std::size_t(n) * at.width + first + d] =
            c.norm ? Expected{r * (at.gain(d) * h[d].value - xhat * mean),
                              r * (std::fabs(at.gain(d)) * h[d].magnitude + std::fabs(xhat) * mean_size)}
                   : h[d];
      }
    }
  CHECK(count_far(dx, 2 * rope_steps, [&](int n, int i) { return want[std::size_t(n) * at.width + i]; }) == 0);
  if (c.norm)
    CHECK(count_far(dg_got, rope_steps + c.tokens * c.heads, [&](int, int d) {
            return Expected{dg_want[d], dg_magnitude[d]};
          }) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("norm_rope on CUDA: forward equals the formula, in place too", "", float, bf16, f16) {
  for (const RopeCase& c : rope_cases) check_rope_forward<TestType>(c);
}
TEMPLATE_TEST_CASE("norm_rope on CUDA: backward equals the formula, in place too", "", float, bf16, f16) {
  for (const RopeCase& c : rope_cases) check_rope_backward<TestType>(c);
}
TEMPLATE_TEST_CASE("norm_rope on CUDA: q and k in one launch equal each alone", "", float, bf16, f16) {
  using T = TestType;
  for (const int tokens : {0, 1, 9, 300}) {
    CAPTURE(tokens);
    gpu().release();
    Rope<T> q{{tokens, 16, 128, 8, true}}, k{{tokens, 4, 128, 0, true}};
    const Matrix<float> cos = upload(q.cos), sin = upload(q.sin);
    NormRopeFwd<T> a{.x = upload(q.x), .g = upload(q.g).data, .cos = cos, .sin = sin, .head_dim = 128, .eps = q.eps};
    NormRopeFwd<T> b{.x = upload(k.x), .g = upload(k.g).data, .cos = cos, .sin = sin, .head_dim = 128, .eps = k.eps};
    const auto q_empty = unwritten<T>(tokens, q.width, 8), k_empty = unwritten<T>(tokens, k.width, 0);
    a.y = upload(q_empty), b.y = upload(k_empty);
    norm_rope<Cuda>::forward(gpu().stream(), a);
    norm_rope<Cuda>::forward(gpu().stream(), b);
    const auto q_alone = download(a.y, q_empty), k_alone = download(b.y, k_empty);
    a.y = upload(q_empty), b.y = upload(k_empty);
    norm_rope<Cuda>::forward(gpu().stream(), a, b);
    CHECK(q_alone.same_bits(download(a.y, q_empty)));
    CHECK(k_alone.same_bits(download(b.y, k_empty)));
  }
}
