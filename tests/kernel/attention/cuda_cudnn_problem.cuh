#pragma once
#include <iostream>
#include <random>
#include <span>
#include <thread>

#include <lamina/kernel/cuda/attention/cudnn/attention.cuh>
#include "support/catch.hpp"
#include "support/cuda.cuh"

#if LAMINA_HAS_CUDNN
/// cuDNN's attention next to equations in double.
namespace lamina::test::cudnn {

using namespace lamina::kernel;
using lamina::testing::gpu;

struct Case {
  std::vector<int> cu;
  AttentionShape shape;
  int longest = 0;
};
inline AttentionShape shape(int heads, int kv_heads, int head_dim, bool causal) {
  return {heads, kv_heads, head_dim, 1 / std::sqrt(static_cast<float>(head_dim)), causal};
}

/// Rows side by side in one buffer, as a fused projection leaves them: [q | k | v].
template <class T>
struct Packed {
  Packed(int rows, const AttentionShape& s, unsigned seed) : q(s.heads * s.head_dim), kv(s.kv_heads * s.head_dim) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    host.resize(static_cast<std::size_t>(rows) * width());
    for (T& x : host) x = round_to<T>(normal(random));
  }
  int width() const { return q + 2 * kv; }
  float at(int row, int column) const { return to_f32(host[static_cast<std::size_t>(row) * width() + column]); }
  int q, kv;
  std::vector<T> host;
};

/// o, lse and the gradients in double.
struct Reference {
  std::vector<double> o, lse, dqkv;
};

/// One thread a kv head: its query heads, keys and values belong to no other.
template <class T>
Reference reference(const Case& c, const Packed<T>& x, const std::vector<T>& dout) {
  const auto [H, K, dh, scale, causal, window] = c.shape;
  const int rows = c.cu.back(), group = H / K, width = x.width();
  Reference r{std::vector<double>(static_cast<std::size_t>(rows) * H * dh), std::vector<double>(rows * H),
              std::vector<double>(static_cast<std::size_t>(rows) * width)};
  const auto one_head = [&, H = H, dh = dh, scale = scale, causal = causal](int h, int first, int end) {
    const int qc = h * dh, kc = x.q + h / group * dh, vc = kc + x.kv;
    std::vector<double> p(end - first);
    for (int i = first; i < end; ++i) {
      const int last = causal ? i + 1 : end;
      double top = -INFINITY, sum = 0, delta = 0;
      for (int j = first; j < last; ++j) {
        double s = 0;
        for (int d = 0; d < dh; ++d) s += static_cast<double>(x.at(i, qc + d)) * x.at(j, kc + d);
        top = std::max(top, p[j - first] = s * scale);
      }
      for (int j = first; j < last; ++j) sum += p[j - first] = std::exp(p[j - first] - top);
      r.lse[i * H + h] = top + std::log(sum);
      double* const o = &r.o[(static_cast<std::size_t>(i) * H + h) * dh];
      const T* const g = &dout[(static_cast<std::size_t>(i) * H + h) * dh];
      for (int j = first; j < last; ++j) {
        for (int d = 0; d < dh; ++d) o[d] += p[j - first] / sum * x.at(j, vc + d);
      }
      for (int d = 0; d < dh; ++d) delta += o[d] * to_f32(g[d]);
      double* const dq = &r.dqkv[static_cast<std::size_t>(i) * width];
      for (int j = first; j < last; ++j) {
        double* const dk = &r.dqkv[static_cast<std::size_t>(j) * width];
        double dp = 0;
        for (int d = 0; d < dh; ++d) dp += static_cast<double>(to_f32(g[d])) * x.at(j, vc + d);
        const double pij = p[j - first] / sum, ds = scale * pij * (dp - delta);
        for (int d = 0; d < dh; ++d) {
          dq[qc + d] += ds * x.at(j, kc + d);
          dk[kc + d] += ds * x.at(i, qc + d);
          dk[vc + d] += pij * to_f32(g[d]);
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (int kv = 0; kv < K; ++kv) {
    threads.emplace_back([&, kv] {
      for (std::size_t b = 0; b + 1 < c.cu.size(); ++b) {
        for (int h = kv * group; h < (kv + 1) * group; ++h) one_head(h, c.cu[b], c.cu[b + 1]);
      }
    });
  }
  for (auto& t : threads) t.join();
  return r;
}

/// |got - want| / |want| over some columns of some rows; infinite if a value is not finite.
template <class T>
double error_of(const std::vector<T>& got, const std::vector<double>& want, int width, int first, int columns, int row,
                int end) {
  double difference = 0, size = 0;
  for (int i = row; i < end; ++i) {
    for (int j = first; j < first + columns; ++j) {
      const std::size_t at = static_cast<std::size_t>(i) * width + j;
      double g;
      if constexpr (std::is_same_v<T, float>)
        g = got[at];
      else
        g = to_f32(got[at]);
      if (!std::isfinite(g)) return INFINITY;
      difference += (g - want[at]) * (g - want[at]);
      size += want[at] * want[at];
    }
  }
  return std::sqrt(difference) / std::max(std::sqrt(size), 1e-30);
}

/// Columns agree within tolerance, taken over all rows; if not, each sequence's error and the first wrong element.
template <class T>
void check_columns(const char* name, const Case& c, const std::vector<T>& got, const std::vector<double>& want,
                   int width, int first, int columns, double tolerance) {
  const double error = error_of(got, want, width, first, columns, 0, c.cu.back());
  INFO(name << " error " << error << " tolerance " << tolerance);
  CHECK(error <= tolerance);
  if (error <= tolerance) return;
  for (std::size_t b = 0; b + 1 < c.cu.size(); ++b) {
    std::cout << name << " sequence " << b << " (" << c.cu[b + 1] - c.cu[b] << " tokens) error "
              << error_of(got, want, width, first, columns, c.cu[b], c.cu[b + 1]) << " by head:";
    for (int j = first; j < first + columns; j += c.shape.head_dim)
      std::cout << " " << error_of(got, want, width, j, c.shape.head_dim, c.cu[b], c.cu[b + 1]);
    std::cout << "\n";
  }
  for (int i = 0, shown = 0; i < c.cu.back(); ++i) {
    for (int j = first; j < first + columns && shown < 6; ++j) {
      const std::size_t at = static_cast<std::size_t>(i) * width + j;
      double g;
      if constexpr (std::is_same_v<T, float>)
        g = got[at];
      else
        g = to_f32(got[at]);
      if (!(std::fabs(g - want[at]) <= 0.1 * std::fabs(want[at]) + 0.02)) {
        std::cout << "  " << name << "(" << i << ", " << j - first << ") = " << g << ", want " << want[at] << "\n";
        ++shown;
      }
    }
  }
}

/// Elements from one row to the next. Gradients side by side share one buffer: dq, dk and dv's strides are equal then.
struct Layout {
  int q, k, v, o, dout, dq, dk, dv;
  bool side_by_side;

  /// Each tensor alone, without gaps.
  static Layout alone(const AttentionShape& s) {
    const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    return {q, kv, kv, q, q, q, kv, kv, false};
  }
  /// [q | k | v] and [dq | dk | dv].
  static Layout fused(const AttentionShape& s) {
    const int q = s.heads * s.head_dim, all = q + 2 * s.kv_heads * s.head_dim;
    return {all, all, all, q, q, all, all, all, true};
  }
  /// What layer/attention_core.hpp passes: v is in [q | k | v], dv in [dq | dk | dv], the others alone. Between adapted
  /// projections o and dv have room for adapters behind each row.
  static Layout model(const AttentionShape& s, bool adapted) {
    const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim, all = q + 2 * kv, tail = adapted ? 64 : 0;
    return {q, kv, all, q + tail, q, q, kv, all + tail, false};
  }
  /// [dq | dk | dv] alone have room behind each row.
  static Layout tailed(const AttentionShape& s) {
    Layout l = fused(s);
    l.dq = l.dk = l.dv += 64;
    return l;
  }
};

/// A problem on the GPU.
template <class T>
struct Problem {
  Case c;
  Layout layout;
  Packed<T> x;
  std::vector<T> dout;
  Reference want;
  int rows, width, o_width;
  Matrix<T> q, k, v, o, g, dq, dk, dv;
  float* lse;
  int* cu;

  explicit Problem(const Case& given) : Problem(given, Layout::fused(given.shape)) {}
  Problem(const Case& given, const Layout& l)
      : c(given), layout(l), x(given.cu.back(), given.shape, 1), dout(Packed<T>(given.cu.back(), given.shape, 2).host) {
    rows = c.cu.back(), width = x.width(), o_width = x.q;
    dout.resize(static_cast<std::size_t>(rows) * o_width);
    want = reference(c, x, dout);
    gpu().release();
    q = poisoned(x.q, l.q), k = poisoned(x.kv, l.k), v = poisoned(x.kv, l.v);
    o = poisoned(o_width, l.o), g = poisoned(o_width, l.dout);
    if (l.side_by_side) {
      const Matrix<T> all = poisoned(width, l.dq);
      dq = all.columns(0, x.q), dk = all.columns(x.q, x.kv), dv = all.columns(x.q + x.kv, x.kv);
    } else {
      dq = poisoned(x.q, l.dq), dk = poisoned(x.kv, l.dk), dv = poisoned(x.kv, l.dv);
    }
    lse = gpu().poisoned<float>(static_cast<std::size_t>(rows) * c.shape.heads);
    cu = gpu().upload(c.cu);
    fill(q, x.host, width, 0), fill(k, x.host, width, x.q), fill(v, x.host, width, x.q + x.kv);
    fill(g, dout, o_width, 0);
  }
  AttentionFwd<T> forward() const {
    return {.q = q,
            .k = k,
            .v = v,
            .o = o,
            .lse = lse,
            .cu_q = cu,
            .cu_k = cu,
            .sequences = static_cast<int>(c.cu.size()) - 1,
            .shape = c.shape,
            .longest = c.longest};
  }
  AttentionBwd<T> backward() const {
    return {.q = q,
            .k = k,
            .v = v,
            .o = o,
            .dout = g,
            .lse = lse,
            .dq = dq,
            .dk = dk,
            .dv = dv,
            .cu = cu,
            .sequences = static_cast<int>(c.cu.size()) - 1,
            .shape = c.shape,
            .longest = c.longest};
  }
  std::vector<T> o_now() const {
    std::vector<T> host(static_cast<std::size_t>(rows) * o_width);
    read(o, host, o_width, 0);
    return host;
  }
  /// [dq | dk | dv].
  std::vector<T> gradients_now() const {
    std::vector<T> host(static_cast<std::size_t>(rows) * width);
    read(dq, host, width, 0), read(dk, host, width, x.q), read(dv, host, width, x.q + x.kv);
    return host;
  }
  /// Whether nothing was written behind the rows of results.
  bool tails_are_poisoned() const {
    const Matrix<T> all(dq.data, rows, width, layout.dq);
    return layout.side_by_side ? tail_is_poisoned(all)
                               : tail_is_poisoned(dq) && tail_is_poisoned(dk) && tail_is_poisoned(dv);
  }
  /// What backward reads, without the errors of forward.
  void give_reference_forward() {
    std::vector<T> exact(want.o.size());
    for (std::size_t i = 0; i < exact.size(); ++i) exact[i] = round_to<T>(static_cast<float>(want.o[i]));
    fill(o, exact, o_width, 0);
    lse = gpu().upload(std::vector<float>(want.lse.begin(), want.lse.end()));
  }

 private:
  static bool tail_is_poisoned(Matrix<T> m) {
    const auto all = gpu().download(m.data, static_cast<std::size_t>(m.rows) * m.stride);
    for (std::size_t i = 0; i < all.size(); ++i)
      if (static_cast<int>(i % m.stride) >= m.cols && all[i].bits != 0xffff) return false;
    return true;
  }
  Matrix<T> poisoned(int cols, int stride) const {
    return {gpu().poisoned<T>(static_cast<std::size_t>(rows) * stride), rows, cols, stride};
  }
  static void copy(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, Matrix<T> m) {
    cuda::check(cudaMemcpy2DAsync(to, to_stride * sizeof(T), from, from_stride * sizeof(T), m.cols * sizeof(T),
                                  static_cast<std::size_t>(m.rows), cudaMemcpyDefault, gpu().stream().handle),
                "copy");
    gpu().device().wait();
  }
  static void fill(Matrix<T> m, const std::vector<T>& host, int host_width, int first) {
    copy(m.data, m.stride, host.data() + first, host_width, m);
  }
  static void read(Matrix<T> m, std::vector<T>& host, int host_width, int first) {
    copy(host.data() + first, host_width, m.data, m.stride, m);
  }
};

}  // namespace lamina::test::cudnn
#endif
