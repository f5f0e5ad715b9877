#pragma once
#include <lamina/kernel/cuda/attention/attention.cuh>

#include <cstring>
#include "kernel/random_matrix.hpp"
#include "support/catch.hpp"
#include "support/cuda.cuh"

/// Attention on the GPU next to the contract's equations in double.
namespace lamina::test::attention {

using namespace lamina::kernel;
using lamina::testing::gpu;

/// Sequences, and what attention is of.
struct Case {
  std::vector<int> cu_q, cu_k;
  AttentionShape shape;
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
    if (p.c.cu_q != p.c.cu_k) backward.cu_k = cu_k;
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

}  // namespace lamina::test::attention
