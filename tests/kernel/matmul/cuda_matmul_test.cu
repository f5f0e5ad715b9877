#include <lamina/kernel/cpu/matmul/gated_product.hpp>
#include <lamina/kernel/cpu/plain.hpp>
#include <lamina/kernel/cuda/elementwise/activation.cuh>
#include <lamina/kernel/cuda/matmul/gated_product.cuh>
#include <lamina/kernel/cuda/matmul/matmul.cuh>

#include <array>
#include "kernel/cuda_matrix.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;
using testing::gpu;
using namespace lamina::test;

namespace {

/// M, N, K: every odd way a tile can end, nothing at all, one row, few rows, adapters of every rank, real widths.
constexpr std::array<int, 3> sizes[] = {
    {1, 1, 1},        {0, 5, 7},       {5, 0, 7},       {5, 7, 0},      {1, 300, 129},   {2, 257, 64},   {3, 64, 515},
    {1, 72, 2048},    {4, 2052, 264},  {5, 40, 6144},   {8, 33, 264},   {9, 31, 40},     {64, 96, 128},  {67, 259, 301},
    {7, 15, 8},       {12, 264, 96},   {16, 40, 136},   {130, 31, 770}, {515, 70, 40},   {300, 8, 520},  {300, 16, 256},
    {261, 32, 256},   {270, 64, 256},  {300, 6, 264},   {1025, 24, 72}, {257, 300, 8},   {257, 320, 16}, {258, 296, 32},
    {259, 264, 64},   {130, 264, 6},   {130, 520, 5},   {1030, 8, 136}, {2050, 136, 8},  {333, 513, 17}, {1, 512, 776},
    {16, 1032, 2056}, {33, 4096, 520}, {64, 264, 6152}, {48, 264, 264}, {20, 17032, 264}};

template <class T, class W>
void check_forward(const std::array<int, 3>& size, bool aligned, float alpha, float beta, bool with_bias) {
  const auto [m, n, k] = size;
  CAPTURE(m, n, k, aligned, alpha, beta, with_bias);
  gpu().release();
  RandomMatrix<T> x(m, k, 1, gap(k, aligned)), bias(1, n, 3, 0), y(m, n, 4, gap(n, aligned));
  RandomMatrix<W> w(n, k, 2, gap(k, aligned));
  auto want = widened<T>(y), fx = widened<T>(x), fw = widened<T>(w), fbias = widened<T>(bias);
  auto magnitude = want.magnitude(), ax = fx.magnitude(), aw = fw.magnitude(), abias = fbias.magnitude();
  plain::matmul_forward(
      MatmulFwd<float>{fx, fw.weight(), with_bias ? fbias.data.data() : nullptr, want.view(), alpha, beta});
  plain::matmul_forward(MatmulFwd<float>{ax, aw.weight(), with_bias ? abias.data.data() : nullptr, magnitude.view(),
                                         std::fabs(alpha), std::fabs(beta)});
  if (beta == 0) std::fill(y.data.begin(), y.data.end(), round_to<T>(NAN));  // beta = 0 must not read y
  MatmulFwd<T> a{upload(x), upload_weight(w), with_bias ? upload(bias).data : nullptr, upload(y), alpha, beta};
  ExactScratch scratch(matmul<Cuda>::workspace_bytes(a));
  matmul<Cuda>::forward(scratch.stream(), a);
  auto got = download(a.y, y);
  CHECK(count_wrong(got, want, magnitude, k, std::fabs(beta) + (with_bias ? 1.0f : 0.0f)) == 0);
  a.y = upload(y);
  matmul<Cuda>::forward(scratch.stream(), a);
  CHECK(got.same_bits(download(a.y, y)));
}

template <class T, class W>
void check_backward_input(const std::array<int, 3>& size, bool aligned, float alpha, float beta) {
  const auto [m, n, k] = size;
  CAPTURE(m, n, k, aligned, alpha, beta);
  gpu().release();
  RandomMatrix<T> dy(m, n, 1, gap(n, aligned)), dx(m, k, 4, gap(k, aligned));
  RandomMatrix<W> w(n, k, 2, gap(k, aligned));
  auto want = widened<T>(dx), fdy = widened<T>(dy), fw = widened<T>(w);
  auto magnitude = want.magnitude(), ady = fdy.magnitude(), aw = fw.magnitude();
  plain::matmul_backward_input(MatmulBwdInput<float>{fdy, fw.weight(), want.view(), alpha, beta});
  plain::matmul_backward_input(MatmulBwdInput<float>{ady, aw.weight(), magnitude.view(), std::fabs(alpha), beta});
  if (beta == 0) std::fill(dx.data.begin(), dx.data.end(), round_to<T>(NAN));
  MatmulBwdInput<T> a{upload(dy), upload_weight(w), upload(dx), alpha, beta};
  ExactScratch scratch(matmul<Cuda>::workspace_bytes(a));
  matmul<Cuda>::backward_input(scratch.stream(), a);
  auto got = download(a.dx, dx);
  CHECK(count_wrong(got, want, magnitude, n, std::fabs(beta)) == 0);
  a.dx = upload(dx);
  matmul<Cuda>::backward_input(scratch.stream(), a);
  CHECK(got.same_bits(download(a.dx, dx)));
}

template <class T>
void check_backward_weight(const std::array<int, 3>& size, bool aligned, float alpha, bool with_bias) {
  const auto [m, n, k] = size;
  CAPTURE(m, n, k, aligned, alpha, with_bias);
  gpu().release();
  RandomMatrix<T> dy(m, n, 1, gap(n, aligned)), x(m, k, 2, gap(k, aligned));
  RandomMatrix<float> dw(n, k, 3, gap(k, aligned)), db(1, n, 5, 0);
  auto want = dw, want_db = db, fdy = widened<T>(dy), fx = widened<T>(x);
  auto magnitude = dw.magnitude(), magnitude_db = db.magnitude(), ady = fdy.magnitude(), ax = fx.magnitude();
  plain::matmul_backward_weight(MatmulBwdWeight<float>{fdy, fx, want, want_db.data.data(), alpha});
  plain::matmul_backward_weight(MatmulBwdWeight<float>{ady, ax, magnitude, magnitude_db.data.data(), std::fabs(alpha)});
  const auto run = [&](RandomMatrix<float>& got_db) {
    const Matrix<float> dw_there = upload(dw), db_there = upload(db);
    MatmulBwdWeight<T> a{upload(dy), upload(x), dw_there, with_bias ? db_there.data : nullptr, alpha};
    ExactScratch scratch(matmul<Cuda>::workspace_bytes(a));
    matmul<Cuda>::backward_weight(scratch.stream(), a);
    got_db = download(db_there, db);
    return download(dw_there, dw);
  };
  RandomMatrix<float> got_db = db, again_db = db, got = run(got_db);
  CHECK(count_wrong(got, want, magnitude, m) == 0);
  CHECK(count_wrong(got_db, with_bias ? want_db : db, magnitude_db, m) == 0);
  CHECK(got.same_bits(run(again_db)));
  CHECK(got_db.same_bits(again_db));
}

/// Runs f<T>(size, aligned) over all sizes with rows that are 16-byte aligned and rows that are not.
template <class F>
void for_all_sizes(F f) {
  for (const auto& size : sizes) {
    for (const bool aligned : {true, false}) f(size, aligned);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("matmul on CUDA: forward equals the specification", "[cublaslt]", float, bf16, f16) {
  for_all_sizes([](const auto& size, bool aligned) {
    check_forward<TestType, TestType>(size, aligned, 1, 0, false);
    check_forward<TestType, TestType>(size, aligned, 2, 0.5f, true);
    check_forward<TestType, TestType>(size, aligned, -0.75f, 1, false);
    check_forward<TestType, float>(size, aligned, 1, 0, true);
  });
}

TEMPLATE_TEST_CASE("matmul on CUDA: backward_input equals the specification", "[cublaslt]", float, bf16, f16) {
  for_all_sizes([](const auto& size, bool aligned) {
    check_backward_input<TestType, TestType>(size, aligned, 1, 0);
    check_backward_input<TestType, TestType>(size, aligned, -2, 0.25f);
    check_backward_input<TestType, float>(size, aligned, 0.5f, 1);
  });
}

TEMPLATE_TEST_CASE("matmul on CUDA: backward_weight adds to what is there and equals the specification", "[cublaslt]",
                   float, bf16, f16) {
  for_all_sizes([](const auto& size, bool aligned) {
    check_backward_weight<TestType>(size, aligned, 1, true);
    check_backward_weight<TestType>(size, aligned, -0.5f, false);
  });
}

TEST_CASE("matmul on CUDA: weights of each other element type are rounded to the activations' type first",
          "[cublaslt]") {
  for (const std::array<int, 3>& size : {std::array{3, 70, 136}, {70, 33, 136}, {70, 136, 8}}) {
    check_forward<float, bf16>(size, true, 1, 0, true);
    check_forward<float, f16>(size, true, 1, 0, true);
    check_forward<bf16, f16>(size, true, 1, 0, true);
    check_forward<f16, bf16>(size, false, 1, 0, true);
    check_backward_input<float, bf16>(size, true, 1, 0);
    check_backward_input<bf16, f16>(size, false, 1, 0);
  }
}

TEST_CASE("matmul on CUDA: windows that start at odd columns give the specification's result", "[cublaslt]") {
  gpu().release();
  RandomMatrix<bf16> x(40, 80, 1), w(50, 80, 2), y(40, 53, 3), bias(1, 51, 4);
  auto fx = widened<bf16>(x), fw = widened<bf16>(w), want = widened<bf16>(y), fbias = widened<bf16>(bias);
  auto ax = fx.magnitude(), aw = fw.magnitude(), magnitude = want.magnitude();
  const auto window = [](auto fwd, auto x, auto w, auto bias, auto y) {
    w.data = static_cast<const char*>(w.data) + 3 * size_bytes(w.dtype);
    w.cols = 70;
    fwd.x = x.columns(5, 70), fwd.w = w, fwd.bias = bias, fwd.y = y.columns(1, 50);
    return fwd;
  };
  plain::matmul_forward(window(MatmulFwd<float>{}, fx.view(), fw.weight(), fbias.data.data() + 1, want.view()));
  plain::matmul_forward(window(MatmulFwd<float>{}, ax.view(), aw.weight(), fbias.data.data() + 1, magnitude.view()));
  const Matrix<bf16> out = upload(y);
  const auto a = window(MatmulFwd<bf16>{}, upload(x), upload_weight(w), upload(bias).data + 1, out);
  ExactScratch scratch(matmul<Cuda>::workspace_bytes(a));
  matmul<Cuda>::forward(scratch.stream(), a);
  auto got = download(out, y);
  CHECK(count_wrong(got, want, magnitude, 70, 1) == 0);  // the columns around the window too
}

TEST_CASE("matmul on CUDA: a value that is not finite reaches the outputs that depend on it, and no others",
          "[cublaslt]") {
  for (const int rows : {1, 4, 40}) {
    for (const int cols : {8, 200}) {
      CAPTURE(rows, cols);
      gpu().release();
      RandomMatrix<bf16> x(rows, 264, 1), w(cols, 264, 2), y(rows, cols, 3);
      x(0, 263) = round_to<bf16>(NAN);
      MatmulFwd<bf16> a{.x = upload(x), .w = upload_weight(w), .y = upload(y)};
      matmul<Cuda>::forward(gpu().stream(), a);
      auto got = download(a.y, y);
      int wrong = 0;
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < cols; ++j) wrong += std::isnan(to_f32(got(i, j))) != (i == 0);
      }
      CHECK(wrong == 0);
    }
  }
}

TEMPLATE_TEST_CASE("matmul on CUDA: if batch-invariant, a token's result does not depend on its neighbours", "", bf16,
                   f16) {
  using T = TestType;
  if (gpu().device().compute_capability() != 90) return;  // elsewhere a session refuses batch_invariant
  gpu().device().batch_invariant = true;
  for (const auto& [n, k] : {std::pair{4096, 2048}, {2048, 6144}, {17032, 264}}) {
    gpu().release();
    const RandomMatrix<T> x(200, k, 1, 0), w(n, k, 2, 0), y(200, n, 4, 0);
    const auto x_there = upload(x);
    const auto rows_of = [&](int first, int rows) {
      const auto to = upload(y);
      matmul<Cuda>::forward(
          gpu().stream(),
          MatmulFwd<T>{.x = x_there.row_range(first, rows), .w = upload_weight(w), .y = to.row_range(first, rows)});
      return download(to, y);
    };
    RandomMatrix<T> all = rows_of(0, 200);
    for (const auto& [first, rows] : {std::pair{0, 1}, {5, 17}, {30, 33}, {100, 70}}) {
      RandomMatrix<T> some = rows_of(first, rows);
      CAPTURE(n, k, first, rows);
      bool same = true;
      for (int s = first; s < first + rows; ++s)
        for (int z = 0; z < n; ++z) same &= to_f32(some(s, z)) == to_f32(all(s, z));
      CHECK(same);
    }
  }
  gpu().device().batch_invariant = false;
}

TEMPLATE_TEST_CASE("gated_product on CUDA: equals product and activation of the CPU", "", float, bf16, f16) {
  using T = TestType;
  for (const auto& [m, f, k] : sizes) {
    if (m == 0 || f == 0 || k == 0 || m * f > 100000) continue;
    CAPTURE(m, f, k);
    gpu().release();
    RandomMatrix<T> x(m, k, 1, 0), y(m, f, 4, 0), h(m, 2 * f, 5, 0);
    RandomMatrix<T> w(2 * f, k, 2, 0);
    auto fx = widened<T>(x), fw = widened<T>(w), want = widened<T>(y), fh = widened<T>(h);
    gated_product<Cpu>::forward(Stream<Cpu>{}, GatedProduct<float>{fx, fw.weight(), fh.view(), want.view()});
    const GatedProduct<T> a{upload(x), upload_weight(w), upload(h), upload(y)};
    ExactScratch scratch(gated_product<Cuda>::workspace_bytes(a));
    gated_product<Cuda>::forward(scratch.stream(), a);
    RandomMatrix<T> got = download(a.y, y);
    auto magnitude = fh.magnitude(), ax = fx.magnitude(), aw = fw.magnitude();
    plain::matmul_forward(MatmulFwd<float>{ax, aw.weight(), nullptr, magnitude.view()});
    int wrong = 0;
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < f; ++j) {
        const auto error = [&](int n) {
          return mma_tolerance(k) * magnitude(i, n) + rounding<T> * std::fabs(fh(i, n));
        };
        const float gate = fh(i, j), up = fh(i, f + j), y_want = want(i, j);
        const float bound = 1.1f * error(j) * std::fabs(up) + std::fabs(gate) * error(f + j) +
                            rounding<T> * 2 * std::fabs(y_want) + 0x1p-20f * std::fabs(gate * up) + 0x1p-24f;
        wrong += !(std::fabs(to_f32(got(i, j)) - y_want) <= bound);
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("matmul on CUDA: shapes that disagree and weights of other types are named", "[cublaslt]") {
  gpu().release();
  RandomMatrix<float> x(2, 3, 1), w(4, 5, 2), y(2, 4, 3);
  MatmulFwd<float> a{.x = upload(x), .w = upload_weight(w), .y = upload(y)};
  CHECK_THROWS_WITH(matmul<Cuda>::forward(gpu().stream(), a), "matmul: x is (2, 3), wanted (2, 5)");
  a.w.dtype = DType::I32;
  CHECK_THROWS_WITH(matmul<Cuda>::forward(gpu().stream(), a),
                    "matmul: the weight is I32, wanted F32, BF16 or F16, or a quantised one");
}

TEST_CASE("matmul on CUDA: calls can be captured in a graph and replayed", "[cublaslt]") {
  gpu().release();
  RandomMatrix<bf16> x(300, 264, 1), w(520, 264, 2), y(300, 520, 3, 0);
  RandomMatrix<float> adapter(8, 264, 4), dw(8, 264, 5);
  RandomMatrix<bf16> h(300, 8, 6, 0);
  const MatmulFwd<bf16> wide{.x = upload(x), .w = upload_weight(w), .y = upload(y)};
  const MatmulFwd<bf16> skinny{.x = wide.x, .w = upload_weight(adapter), .y = upload(h)};
  const MatmulBwdWeight<bf16> weight{.dy = skinny.y, .x = wide.x, .dw = upload(dw)};
  const auto run = [&] {
    matmul<Cuda>::forward(gpu().stream(), wide);
    matmul<Cuda>::forward(gpu().stream(), skinny);
    matmul<Cuda>::backward_weight(gpu().stream(), weight);
  };
  run();
  auto once = download(wide.y, y);
  auto once_dw = download(weight.dw, dw);
  const auto stream = gpu().stream().handle;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  kernel::cuda::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  run();
  kernel::cuda::check(cudaStreamEndCapture(stream, &graph), "capture");
  kernel::cuda::check(cudaGraphInstantiate(&executable, graph, 0), "instantiate");
  Memory<Cuda>::upload(gpu().stream(), weight.dw.data, dw.data.data(), dw.data.size() * 4);
  kernel::cuda::check(cudaMemsetAsync(wide.y.data, 0, y.data.size() * 2, stream), "memset");
  kernel::cuda::check(cudaGraphLaunch(executable, stream), "launch");
  CHECK(once.same_bits(download(wide.y, y)));
  CHECK(once_dw.same_bits(download(weight.dw, dw)));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}
