#include <lamina/kernel/cuda/attention/attention.cuh>

#include <cstring>
#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"
#include "support/cuda.cuh"

using namespace lamina;
using namespace lamina::kernel;
using lamina::testing::gpu;
using test::RandomMatrix;

namespace {

struct Case {
  std::vector<int> cu_q, cu_k;
  AttentionShape shape;
};

/// Empty and one-token sequences, lengths around every tile, chunks against longer caches, decoding, each tile width.
const Case cases[] = {
    {{0, 1}, {0, 1}, {1, 1, 8, 0.3f, true}},
    {{0, 0, 1, 1, 6}, {0, 0, 1, 1, 6}, {4, 2, 16, 0.25f, true}},
    {{0, 63, 128, 193}, {0, 63, 128, 193}, {4, 1, 32, 0.18f, true}},
    {{0, 300, 301}, {0, 300, 301}, {2, 2, 24, 0.22f, true}},
    {{0, 300, 301}, {0, 300, 301}, {2, 2, 64, 0.22f, false}},
    {{0, 128, 256, 385}, {0, 128, 256, 385}, {4, 2, 128, 0.088f, true}},
    {{0, 600, 600, 800}, {0, 600, 600, 800}, {2, 1, 128, 0.088f, true}},
    {{0, 400, 529}, {0, 400, 529}, {2, 1, 128, 0.088f, false}},
    {{0, 300}, {0, 300}, {3, 1, 80, 0.11f, false}},
    {{0, 90, 219}, {0, 90, 219}, {2, 2, 72, 0.12f, false}},
    {{0, 90, 219}, {0, 90, 219}, {2, 2, 72, 0.12f, true}},
    {{0, 513}, {0, 513}, {2, 2, 64, 0.125f, true}},
    {{0, 1, 2, 3}, {0, 700, 701, 1301}, {8, 2, 64, 0.125f, true}},
    {{0, 1}, {0, 3000}, {16, 8, 128, 0.088f, true}},
    {{0, 1}, {0, 5}, {28, 4, 128, 0.088f, true}},
    {{0, 5, 12}, {0, 600, 650}, {32, 4, 128, 0.088f, true}},
    {{0, 8}, {0, 1000}, {4, 1, 80, 0.11f, true}},
    {{0, 70, 71}, {0, 400, 700}, {4, 2, 128, 0.088f, true}},
    {{0, 2, 5}, {0, 9, 9}, {2, 1, 8, 0.35f, false}},                   // the last three queries have no keys
    {{0, 5}, {0, 3}, {2, 1, 8, 0.35f, true}},                          // nor do the first two of these
    {{0, 200, 200, 300}, {0, 100, 150, 150}, {2, 1, 64, 0.1f, true}},  // nor do half of these
    {{0, 300, 301}, {0, 300, 301}, {4, 2, 64, 0.125f, true, 1}},       // windows: of one key, around tiles, of all
    {{0, 700, 833}, {0, 700, 833}, {4, 2, 128, 0.088f, true, 130}},
    {{0, 300}, {0, 300}, {3, 1, 80, 0.11f, true, 64}},
    {{0, 200}, {0, 200}, {2, 1, 128, 0.088f, true, 1000}},
    {{0, 70, 71}, {0, 400, 700}, {4, 2, 128, 0.088f, true, 100}},
};

/// Half the distance between two numbers of T next to 1: what rounding to T may move a value, as a share of it.
template <class T>
constexpr double rounding = std::is_same_v<T, bf16>  ? 0x1p-8
                            : std::is_same_v<T, f16> ? 0x1p-11
                                                     : 0x1p-24;
/// The error allowed for a tiny value: half a step of f16 below its normal numbers; else fp32's smallest normal
/// number, below which the GPU's exp2 gives 0.
template <class T>
constexpr double least = std::is_same_v<T, f16> ? 0x1p-25 : 0x1p-126;

/// Inputs on the host, and the contract's equations in double with a bound on the error of each result.
///
/// Errors of the bound: a sum of n products in fp32 is off by sum_tolerance(n) of its terms' magnitudes. p = exp(s) is
/// off by the error of s, by the roundings of its exponent (a few 2^-24 of scale * s and lse) and by ex2's 2^-21, as a
/// share of p; sums over keys by sum_tolerance of their number. Tensor cores take p and dS rounded to T, and results
/// are rounded to T. First order; factor 1.1 for the rest.
template <class T>
struct Problem {
  Case c;
  RandomMatrix<T> q, k, v, dout, o;
  std::vector<float> lse;
  std::vector<double> want_o, o_bound, lse_bound, want_dq, dq_bound, want_dk, dk_bound, want_dv, dv_bound;

  explicit Problem(const Case& given)
      : c(given),
        q(c.cu_q.back(), c.shape.heads * c.shape.head_dim, 1, 8),
        k(c.cu_k.back(), c.shape.kv_heads * c.shape.head_dim, 2, 16),
        v(c.cu_k.back(), c.shape.kv_heads * c.shape.head_dim, 3, 0),
        dout(c.cu_q.back(), c.shape.heads * c.shape.head_dim, 4, 24),
        o(c.cu_q.back(), c.shape.heads * c.shape.head_dim, 5, 8),
        lse(static_cast<std::size_t>(c.cu_q.back()) * c.shape.heads, NAN) {}

  int dh() const { return c.shape.head_dim; }
  int group() const { return c.shape.heads / c.shape.kv_heads; }
  int sequences() const { return static_cast<int>(c.cu_q.size()) - 1; }

  struct Dot {
    double sum, magnitude;
  };
  Dot dot(const RandomMatrix<T>& a, int i, int head_a, const RandomMatrix<T>& b, int j, int head_b) const {
    double sum = 0, magnitude = 0;
    const T* x = a.data.data() + i * a.stride + head_a * dh();
    const T* y = b.data.data() + j * b.stride + head_b * dh();
    for (int d = 0; d < dh(); ++d) {
      const double term = double{to_f32(x[d])} * to_f32(y[d]);
      sum += term, magnitude += std::fabs(term);
    }
    return {sum, magnitude};
  }
  double score_error(const Dot& s, double log_sum) const {  // as a share of p
    const double scale = c.shape.scale;
    return scale * s.magnitude * test::sum_tolerance(dh()) + 0x1p-22 * (scale * std::fabs(s.sum) + std::fabs(log_sum)) +
           0x1p-21;
  }
  /// run(b, i, h, first key, keys seen), over all rows.
  template <class F>
  void rows(F run) const {
    for (int b = 0; b < sequences(); ++b) {
      const int queries = c.cu_q[b + 1] - c.cu_q[b], keys = c.cu_k[b + 1] - c.cu_k[b];
      for (int i = 0; i < queries; ++i) {
        const int seen = c.shape.causal ? std::clamp(i + 1 + keys - queries, 0, keys) : keys;
        const int hidden = c.shape.window > 0 ? std::clamp(i + 1 + keys - queries - c.shape.window, 0, seen) : 0;
        for (int h = 0; h < c.shape.heads; ++h) run(c.cu_q[b] + i, h, c.cu_k[b] + hidden, seen - hidden);
      }
    }
  }

  void solve_forward() {
    want_o.assign(static_cast<std::size_t>(q.rows) * q.cols, 0);
    o_bound = want_o;
    lse_bound.assign(lse.size(), 0);
    rows([&](int row, int h, int k0, int seen) {
      std::vector<double> p(seen), error(seen);
      double top = -INFINITY, sum = 0, sum_error = 0;
      for (int j = 0; j < seen; ++j) {
        const Dot s = dot(q, row, h, k, k0 + j, h / group());
        p[j] = c.shape.scale * s.sum;
        error[j] = s.magnitude;
        top = std::max(top, p[j]);
      }
      for (int j = 0; j < seen; ++j) {
        error[j] = score_error({p[j] / c.shape.scale, error[j]}, top);
        sum += p[j] = std::exp(p[j] - top);
        sum_error += p[j] * (error[j] + test::sum_tolerance(seen));
      }
      const std::size_t at = static_cast<std::size_t>(row) * c.shape.heads + h;
      lse[at] = static_cast<float>(top + std::log(sum));
      lse_bound[at] = 1.1 * (sum_error / sum + 0x1p-22 * (1 + std::fabs(lse[at])));
      for (int d = 0; d < dh(); ++d) {
        double value = 0, bound = 0;
        for (int j = 0; j < seen; ++j) {
          const double x = to_f32(v(k0 + j, h / group() * dh() + d)), share = p[j] / sum;
          value += share * x;
          bound +=
              std::fabs(share * x) * (error[j] + rounding<T> + test::sum_tolerance(seen) + sum_error / sum + 0x1p-22);
          bound += least<T> * std::fabs(x);
        }
        const std::size_t out = at * dh() + d;
        want_o[out] = value;
        o_bound[out] = 1.1 * (bound + rounding<T> * std::fabs(value)) + least<T>;
        o(row, h * dh() + d) = round_to<T>(static_cast<float>(value));
      }
    });
  }

  /// After solve_forward, whose o (rounded) and lse are inputs.
  void solve_backward() {
    want_dq.assign(static_cast<std::size_t>(q.rows) * q.cols, 0);
    want_dk.assign(static_cast<std::size_t>(k.rows) * k.cols, 0);
    dq_bound = want_dq;
    want_dv = dk_bound = dv_bound = want_dk;
    const double scale = c.shape.scale;
    rows([&](int row, int h, int k0, int seen) {
      const double log_sum = lse[static_cast<std::size_t>(row) * c.shape.heads + h];
      const Dot delta = dot(dout, row, h, o, row, h);
      for (int j = 0; j < seen; ++j) {
        const int key = k0 + j, kv = h / group();
        const Dot s = dot(q, row, h, k, key, kv), dp = dot(dout, row, h, v, key, kv);
        const double p = std::exp(scale * s.sum - log_sum), ds = scale * p * (dp.sum - delta.sum);
        const double p_share = score_error(s, log_sum);
        const double p_error = p * (p_share + rounding<T>)+least<T>;
        const double ds_error = std::fabs(ds) * (p_share + rounding<T> + 0x1p-22) +
                                scale * least<T> * (1 + dp.magnitude + delta.magnitude) +
                                scale * p * test::sum_tolerance(dh()) * (dp.magnitude + delta.magnitude);
        const double length = test::sum_tolerance((seen + q.rows) * group());
        for (int d = 0; d < dh(); ++d) {
          const std::size_t q_at = (static_cast<std::size_t>(row) * c.shape.heads + h) * dh() + d;
          const std::size_t k_at = (static_cast<std::size_t>(key) * c.shape.kv_heads + kv) * dh() + d;
          const double qd = to_f32(q(row, h * dh() + d)), kd = to_f32(k(key, kv * dh() + d)),
                       dod = to_f32(dout(row, h * dh() + d));
          want_dq[q_at] += ds * kd, dq_bound[q_at] += (ds_error + length * std::fabs(ds)) * std::fabs(kd);
          want_dk[k_at] += ds * qd, dk_bound[k_at] += (ds_error + length * std::fabs(ds)) * std::fabs(qd);
          want_dv[k_at] += p * dod, dv_bound[k_at] += (p_error + length * p) * std::fabs(dod);
        }
      }
    });
    const auto finish = [](std::vector<double>& bound, const std::vector<double>& want) {
      for (std::size_t i = 0; i < bound.size(); ++i)
        bound[i] = 1.1 * (bound[i] + rounding<T> * std::fabs(want[i])) + least<T>;
    };
    finish(dq_bound, want_dq), finish(dk_bound, want_dk), finish(dv_bound, want_dv);
  }
};

/// A problem's inputs on the GPU, and results there.
template <class T>
struct OnGpu {
  AttentionFwd<T> forward;
  AttentionBwd<T> backward;
  static constexpr int gap = 8;

  static Matrix<const T> upload(const RandomMatrix<T>& m) { return {gpu().upload(m.data), m.rows, m.cols, m.stride}; }
  static Matrix<T> poisoned(int rows, int cols) {
    return {gpu().template poisoned<T>(static_cast<std::size_t>(rows) * (cols + gap)), rows, cols, cols + gap};
  }
  explicit OnGpu(const Problem<T>& p) {
    const Matrix<const T> q = upload(p.q), k = upload(p.k), v = upload(p.v);
    const int* cu_q = gpu().upload(p.c.cu_q);
    const int* cu_k = gpu().upload(p.c.cu_k);
    forward = {.q = q,
               .k = k,
               .v = v,
               .o = poisoned(q.rows, q.cols),
               .lse = gpu().poisoned<float>(p.lse.size()),
               .cu_q = cu_q,
               .cu_k = cu_k,
               .sequences = p.sequences(),
               .shape = p.c.shape};
    backward = {.q = q,
                .k = k,
                .v = v,
                .o = upload(p.o),
                .dout = upload(p.dout),
                .lse = gpu().upload(p.lse),
                .dq = poisoned(q.rows, q.cols),
                .dk = poisoned(k.rows, k.cols),
                .dv = poisoned(k.rows, k.cols),
                .cu = cu_q,
                .sequences = p.sequences(),
                .shape = p.c.shape};
  }
};

/// A matrix of the GPU, without its gaps.
template <class T>
std::vector<T> rows_of(const Matrix<T>& m) {
  std::vector<T> dense;
  const std::vector<T> all = gpu().download(m.data, static_cast<std::size_t>(m.rows) * m.stride);
  for (int i = 0; i < m.rows; ++i)
    dense.insert(dense.end(), all.begin() + i * m.stride, all.begin() + i * m.stride + m.cols);
  return dense;
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// The largest error as a share of its bound; reports its place if above 1.
template <class T>
double worst(const char* name, const std::vector<T>& got, const std::vector<double>& want,
             const std::vector<double>& bound, int cols) {
  double most = 0;
  std::size_t at = 0, wrong = 0, first = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double x = to_f32(got[i]);
    double share = x == want[i] ? 0 : std::fabs(x - want[i]) / bound[i];
    if (std::isnan(share)) share = INFINITY;
    if (share > 1 && wrong++ == 0) first = i;
    if (share > most) most = share, at = i;
  }
  if (wrong) {
    std::printf("%s: %zu of %zu wrong, first (%zu, %zu) got %g want %g bound %g; worst (%zu, %zu) got %g want %g\n",
                name, wrong, got.size(), first / cols, first % cols, to_f32(got[first]), want[first], bound[first],
                at / cols, at % cols, to_f32(got[at]), want[at]);
  }
  return most;
}

template <class T>
void check_forward(const Problem<T>& p, const OnGpu<T>& on) {
  CHECK(worst("o", rows_of(on.forward.o), p.want_o, p.o_bound, p.q.cols) <= 1);
  const std::vector<double> lse(p.lse.begin(), p.lse.end());
  CHECK(worst("lse", gpu().download(on.forward.lse, p.lse.size()), lse, p.lse_bound, p.c.shape.heads) <= 1);
}
template <class T>
void check_backward(const Problem<T>& p, const OnGpu<T>& on) {
  CHECK(worst("dq", rows_of(on.backward.dq), p.want_dq, p.dq_bound, p.q.cols) <= 1);
  CHECK(worst("dk", rows_of(on.backward.dk), p.want_dk, p.dk_bound, p.k.cols) <= 1);
  CHECK(worst("dv", rows_of(on.backward.dv), p.want_dv, p.dv_bound, p.k.cols) <= 1);
}

/// The library's own kernels: those of this GPU, and those of every GPU from sm_80 on with much and little shared
/// memory.
enum class Kernels { own, tiles, small_tiles };
template <class T>
void forward(Kernels kernels, const AttentionFwd<T>& a) {
  if constexpr (!std::is_same_v<T, float>)
    if (kernels != Kernels::own) return kernel::cuda::attention_forward_tiles(gpu().stream(), a);
  kernel::cuda::attention_forward_own(gpu().stream(), a);
}
template <class T>
void backward(Kernels kernels, const AttentionBwd<T>& a) {
  const Stream<Cuda> s = gpu().stream();
  if constexpr (!std::is_same_v<T, float>) {
    Arena::Scope scope(*s.scratch);
    const int shared_bytes = kernels == Kernels::tiles ? 163 << 10 : 99 << 10;
    if (kernels != Kernels::own)
      return kernel::cuda::attention_backward_tiles(s, a, kernel::cuda::attention_bwd_sums(s, a), shared_bytes);
  }
  kernel::cuda::attention_backward_own(s, a);
}

/// Two runs agree bit for bit, and with the equations.
template <class T>
void contract(const Case& c) {
  gpu().release();
  Problem<T> p(c);
  p.solve_forward();
  const bool training = c.cu_q == c.cu_k;
  if (training) p.solve_backward();
  for (const Kernels kernels : {Kernels::own, Kernels::tiles, Kernels::small_tiles}) {
    if (std::is_same_v<T, float> && kernels != Kernels::own) continue;
    CAPTURE(c.cu_q, c.cu_k, c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.causal,
            static_cast<int>(kernels));
    const OnGpu<T> one(p), two(p);
    forward(kernels, one.forward), forward(kernels, two.forward);
    check_forward(p, one);
    CHECK(same_bits(rows_of(one.forward.o), rows_of(two.forward.o)));
    CHECK(same_bits(gpu().download(one.forward.lse, p.lse.size()), gpu().download(two.forward.lse, p.lse.size())));
    if (!training) continue;
    backward(kernels, one.backward), backward(kernels, two.backward);
    check_backward(p, one);
    CHECK(same_bits(rows_of(one.backward.dq), rows_of(two.backward.dq)));
    CHECK(same_bits(rows_of(one.backward.dk), rows_of(two.backward.dk)));
    CHECK(same_bits(rows_of(one.backward.dv), rows_of(two.backward.dv)));
  }
}

/// 0, 1, 2, 3, 0, ... tokens, then one long sequence: more sequences than a warp ranks.
std::vector<int> many_sequences() {
  std::vector<int> cu{0};
  for (int b = 0; b < 700; ++b) cu.push_back(cu.back() + b % 4);
  cu.push_back(cu.back() + 270);
  return cu;
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA attention: both passes equal their equations and themselves", "", float, bf16, f16) {
  for (const Case& c : cases) contract<TestType>(c);
}
TEMPLATE_TEST_CASE("CUDA attention: many short sequences", "", float, bf16, f16) {
  for (const bool causal : {true, false}) {
    const Case c{many_sequences(), many_sequences(), {2, 1, 64, 0.125f, causal}};
    contract<TestType>(c);
  }
}
TEMPLATE_TEST_CASE("CUDA attention: scores far apart neither overflow nor lose a row", "", float, bf16, f16) {
  for (const float scale : {3.0f, 30.0f}) {
    contract<TestType>({{0, 300}, {0, 300}, {2, 1, 128, scale, true}});
    contract<TestType>({{0, 2}, {0, 900}, {2, 1, 128, scale, true}});
  }
}

TEMPLATE_TEST_CASE("CUDA attention: a null lse is not written", "", float, bf16, f16) {
  for (const Case& c : {cases[6], cases[13]}) {
    gpu().release();
    const Problem<TestType> p(c);
    const OnGpu<TestType> with(p), without(p);
    AttentionFwd<TestType> arguments = without.forward;
    arguments.lse = nullptr;
    kernel::cuda::attention_forward_own(gpu().stream(), with.forward);
    kernel::cuda::attention_forward_own(gpu().stream(), arguments);
    CHECK(same_bits(rows_of(with.forward.o), rows_of(without.forward.o)));
  }
}

TEMPLATE_TEST_CASE("CUDA attention: nothing to do is done", "", float, bf16, f16) {
  gpu().release();
  Problem<TestType> p({{0, 0, 0}, {0, 0, 0}, {4, 2, 64, 0.125f, true}});
  const OnGpu<TestType> on(p);
  kernel::cuda::attention_forward_own(gpu().stream(), on.forward);
  kernel::cuda::attention_backward_own(gpu().stream(), on.backward);
  gpu().device().wait();
}

TEMPLATE_TEST_CASE("CUDA attention: decoding is captured once while its cache grows", "", bf16, f16) {
  constexpr int capacity = 3000;
  gpu().release();
  const AttentionShape shape{16, 8, 128, 0.088f, true};
  Problem<TestType> p({{0, 1}, {0, capacity}, shape});
  const OnGpu<TestType> on(p);
  const Stream<Cuda> s = gpu().stream();
  kernel::cuda::attention_forward_own(s, on.forward);
  gpu().device().wait();
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  kernel::cuda::check(cudaStreamBeginCapture(s.handle, cudaStreamCaptureModeThreadLocal), "capture");
  kernel::cuda::attention_forward_own(s, on.forward);
  kernel::cuda::check(cudaStreamEndCapture(s.handle, &graph), "capture");
  kernel::cuda::check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  for (const int length : {1, 16, 17, 64, 65, 1023, 2112, 2113, 3000}) {
    CAPTURE(length);
    p.c.cu_k = {0, length};
    p.solve_forward();
    Memory<Cuda>::upload(s, const_cast<int*>(on.forward.cu_k), p.c.cu_k.data(), 2 * sizeof(int));
    kernel::cuda::check(cudaGraphLaunch(exec, s.handle), "replay");
    check_forward(p, on);
  }
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
}

TEMPLATE_TEST_CASE("CUDA attention: a full GPU of blocks that wait for each other is bit-equal, and near fp32",
                   "[waits]", bf16, f16) {
  for (const bool causal : {true, false}) {
    gpu().release();
    const Case c{{0, 1500, 1600, 3000, 4000}, {0, 1500, 1600, 3000, 4000}, {8, 4, 128, 0.088f, causal}};
    const Problem<TestType> p(c);
    const Problem<float> wide(c);  // the same numbers before they are rounded
    const OnGpu<TestType> one(p), two(p);
    const OnGpu<float> exact(wide);
    const auto run = [](const auto& on) {
      kernel::cuda::attention_forward_own(gpu().stream(), on.forward);
      auto b = on.backward;
      b.o = on.forward.o, b.lse = on.forward.lse;
      kernel::cuda::attention_backward_own(gpu().stream(), b);
    };
    run(one), run(two), run(exact);
    // Inputs, p, dS and results are rounded to T; roundings are independent, so norms are off by a few of them.
    const double tolerance = 4 * rounding<TestType>;
    CHECK(lamina::testing::relative_error(rows_of(one.forward.o), rows_of(exact.forward.o)) < tolerance);
    CHECK(lamina::testing::relative_error(rows_of(one.backward.dq), rows_of(exact.backward.dq)) < tolerance);
    CHECK(lamina::testing::relative_error(rows_of(one.backward.dk), rows_of(exact.backward.dk)) < tolerance);
    CHECK(lamina::testing::relative_error(rows_of(one.backward.dv), rows_of(exact.backward.dv)) < tolerance);
    CHECK(same_bits(rows_of(one.backward.dq), rows_of(two.backward.dq)));
    CHECK(same_bits(rows_of(one.backward.dk), rows_of(two.backward.dk)));
    CHECK(same_bits(rows_of(one.backward.dv), rows_of(two.backward.dv)));
  }
}

TEST_CASE("CUDA attention: workspace_bytes bounds what is taken") {
  gpu().release();
  for (const Case& c : cases) {
    const Problem<bf16> p(c);
    const OnGpu<bf16> on(p);
    if (c.cu_q != c.cu_k) continue;
    Arena nothing, backward(kernel::cuda::attention_workspace_bytes(c.shape, p.q.rows), Memory<Cuda>{});
    kernel::cuda::attention_forward_own(gpu().device().stream(&nothing), on.forward);
    kernel::cuda::attention_backward_own(gpu().device().stream(&backward), on.backward);
    gpu().device().wait();
  }
}

TEST_CASE("CUDA attention: what it cannot take is an error") {
  gpu().release();
  Problem<bf16> p(cases[5]);
  OnGpu<bf16> on(p);
  on.forward.shape.head_dim = 136;
  CHECK_THROWS(kernel::cuda::attention_forward_own(gpu().stream(), on.forward));
}
