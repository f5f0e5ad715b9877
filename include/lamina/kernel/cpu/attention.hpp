#pragma once
#include <lamina/kernel/attention.hpp>
#include <lamina/kernel/cpu/matmul.hpp>

namespace lamina::kernel::detail {

/// One (sequence, head, block of queries), or in backward one (sequence, kv head), and what it costs.
struct AttentionItem {
  int sequence, head, first, rows;
  std::int64_t cost;
};

/// Runs items so that every thread gets about the same cost. Items are independent: who runs one does not matter.
template <class F>
void parallel_by_cost(std::vector<AttentionItem>& items, F run) {
  std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.cost > b.cost; });
  const int threads = std::max(1, thread_count());
  parallel_for(threads, [&](std::int64_t t) {
    for (std::size_t i = t; i < items.size(); i += threads) run(items[i]);
  });
}

inline Matrix<const float> head_of(Matrix<const float> x, int row, int rows, int head, int dh) {
  return x.row_range(row, rows).columns(head * dh, dh);
}
inline Matrix<float> head_of(Matrix<float> x, int row, int rows, int head, int dh) {
  return x.row_range(row, rows).columns(head * dh, dh);
}

inline void expect_heads(const AttentionShape& s) {
  if (s.heads < 1 || s.kv_heads < 1 || s.head_dim < 1 || s.heads % s.kv_heads != 0) {
    fail("attention: ", s.heads, " heads of ", s.head_dim, " over ", s.kv_heads,
         " kv heads; wanted positive counts and heads a multiple of kv heads");
  }
}

}  // namespace lamina::kernel::detail

/// Blocks of queries against blocks of keys with a running softmax: the scores of a sequence are never held at once.
template <>
struct lamina::kernel::attention<lamina::Cpu> {
  static constexpr int query_block = 64, key_block = 256;

  template <class T>
  static void forward(Stream<Cpu>, const AttentionFwd<T>& a) {
    const auto& s = a.shape;
    detail::expect_heads(s);
    detail::expect_shape("attention", "q", a.q.rows, a.q.cols, a.o.rows, s.heads * s.head_dim);
    detail::expect_shape("attention", "o", a.o.rows, a.o.cols, a.q.rows, s.heads * s.head_dim);
    detail::expect_shape("attention", "k", a.k.rows, a.k.cols, a.v.rows, s.kv_heads * s.head_dim);
    detail::expect_shape("attention", "v", a.v.rows, a.v.cols, a.k.rows, s.kv_heads * s.head_dim);
    if constexpr (std::is_same_v<T, float>) {
      std::vector<detail::AttentionItem> items;
      for (int b = 0; b < a.sequences; ++b) {
        const int queries = a.cu_q[b + 1] - a.cu_q[b], keys = a.cu_k[b + 1] - a.cu_k[b];
        for (int h = 0; h < s.heads; ++h) {
          for (int i = 0; i < queries; i += query_block) {
            const int rows = std::min(query_block, queries - i);
            const std::int64_t seen = plain::visible_keys(s, i + rows - 1, queries, keys);
            items.push_back({b, h, i, rows, rows * (seen + 1)});
          }
        }
      }
      detail::parallel_by_cost(items, [&](const detail::AttentionItem& item) { forward_block(a, item); });
    } else {
      plain::attention_forward(a);
    }
  }

  template <class T>
  static void backward(Stream<Cpu>, const AttentionBwd<T>& a) {
    const auto& s = a.shape;
    detail::expect_heads(s);
    detail::expect_shape("attention", "dout", a.dout.rows, a.dout.cols, a.q.rows, s.heads * s.head_dim);
    detail::expect_shape("attention", "dq", a.dq.rows, a.dq.cols, a.q.rows, s.heads * s.head_dim);
    detail::expect_shape("attention", "dk", a.dk.rows, a.dk.cols, a.q.rows, s.kv_heads * s.head_dim);
    detail::expect_shape("attention", "dv", a.dv.rows, a.dv.cols, a.q.rows, s.kv_heads * s.head_dim);
    if constexpr (std::is_same_v<T, float>) {
      std::vector<detail::AttentionItem> items;
      for (int b = 0; b < a.sequences; ++b) {
        const int length = a.cu[b + 1] - a.cu[b];
        for (int h = 0; length > 0 && h < s.kv_heads; ++h)
          items.push_back({b, h, 0, length, std::int64_t{length} * length});
      }
      detail::parallel_by_cost(items, [&](const detail::AttentionItem& item) { backward_head(a, item); });
    } else {
      plain::attention_backward(a);
    }
  }

 private:
  struct Scores {};
  struct Deltas {};

  /// Scores of a block: scale * q k^T, minus infinity where the mask hides a key.
  static void scores(const AttentionShape& shape, Matrix<const float> q, Matrix<const float> k, int first_query,
                     int first_key, int queries, int keys, Matrix<float> s) {
    detail::map(s).noalias() = shape.scale * detail::map(q) * detail::map(k).transpose();
    for (int i = 0; shape.causal && i < s.rows; ++i) {
      const int seen = plain::visible_keys(shape, first_query + i, queries, keys) - first_key;
      for (int j = std::max(0, seen); j < s.cols; ++j) s(i, j) = -INFINITY;
    }
  }

  static void forward_block(const AttentionFwd<float>& a, const detail::AttentionItem& item) {
    const int dh = a.shape.head_dim, kv = item.head / (a.shape.heads / a.shape.kv_heads);
    const int q0 = a.cu_q[item.sequence], k0 = a.cu_k[item.sequence];
    const int queries = a.cu_q[item.sequence + 1] - q0, keys = a.cu_k[item.sequence + 1] - k0;
    const auto q = detail::head_of(a.q, q0 + item.first, item.rows, item.head, dh);
    const auto o = detail::head_of(a.o, q0 + item.first, item.rows, item.head, dh);
    float top[query_block], sum[query_block];
    std::fill_n(top, item.rows, -INFINITY);
    std::fill_n(sum, item.rows, 0.0f);
    detail::map(o).setZero();
    const int seen = plain::visible_keys(a.shape, item.first + item.rows - 1, queries, keys);
    for (int j = 0; j < seen; j += key_block) {
      const int cols = std::min(key_block, seen - j);
      const Matrix<float> s(detail::scratch<Scores>(query_block * key_block), item.rows, cols);
      scores(a.shape, q, detail::head_of(a.k, k0 + j, cols, kv, dh), item.first, j, queries, keys, s);
      for (int i = 0; i < item.rows; ++i) {
        auto row = Eigen::Map<Eigen::ArrayXf>(s.row(i), cols);
        const float now = std::max(top[i], row.maxCoeff());
        if (now == -INFINITY) {
          row.setZero();
          continue;
        }
        const float shrink = std::exp(top[i] - now);
        row = (row - now).exp();
        sum[i] = sum[i] * shrink + row.sum();
        top[i] = now;
        for (int d = 0; d < dh; ++d) o(i, d) *= shrink;
      }
      detail::map(o).noalias() += detail::map(s) * detail::map(detail::head_of(a.v, k0 + j, cols, kv, dh));
    }
    for (int i = 0; i < item.rows; ++i) {
      for (int d = 0; sum[i] > 0 && d < dh; ++d) o(i, d) /= sum[i];
      if (a.lse) a.lse[std::ptrdiff_t{q0 + item.first + i} * a.shape.heads + item.head] = top[i] + std::log(sum[i]);
    }
  }

  static void backward_head(const AttentionBwd<float>& a, const detail::AttentionItem& item) {
    const int dh = a.shape.head_dim, group = a.shape.heads / a.shape.kv_heads, start = a.cu[item.sequence];
    detail::map(detail::head_of(a.dk, start, item.rows, item.head, dh)).setZero();
    detail::map(detail::head_of(a.dv, start, item.rows, item.head, dh)).setZero();
    for (int h = item.head * group; h < (item.head + 1) * group; ++h) {
      detail::map(detail::head_of(a.dq, start, item.rows, h, dh)).setZero();
      for (int i = 0; i < item.rows; i += query_block) {
        const int rows = std::min(query_block, item.rows - i);
        const int seen = plain::visible_keys(a.shape, i + rows - 1, item.rows, item.rows);
        for (int j = 0; j < seen; j += key_block) {
          backward_block(a, item, h, i, rows, j, std::min(key_block, seen - j));
        }
      }
    }
  }

  static void backward_block(const AttentionBwd<float>& a, const detail::AttentionItem& item, int h, int i, int rows,
                             int j, int cols) {
    const int dh = a.shape.head_dim, start = a.cu[item.sequence], q0 = start + i, k0 = start + j;
    const auto q = detail::head_of(a.q, q0, rows, h, dh), dout = detail::head_of(a.dout, q0, rows, h, dh);
    const auto o = detail::head_of(a.o, q0, rows, h, dh), k = detail::head_of(a.k, k0, cols, item.head, dh);
    const auto v = detail::head_of(a.v, k0, cols, item.head, dh);
    const Matrix<float> p(detail::scratch<Scores>(query_block * key_block), rows, cols);
    const Matrix<float> ds(detail::scratch<Deltas>(query_block * key_block), rows, cols);
    scores(a.shape, q, k, i, j, item.rows, item.rows, p);
    detail::map(ds).noalias() = detail::map(dout) * detail::map(v).transpose();
    for (int r = 0; r < rows; ++r) {
      const float lse = a.lse[std::ptrdiff_t{q0 + r} * a.shape.heads + h];
      float delta = 0;
      for (int d = 0; d < dh; ++d) delta += dout(r, d) * o(r, d);
      auto p_row = Eigen::Map<Eigen::ArrayXf>(p.row(r), cols);
      p_row = (p_row - lse).exp();
      auto ds_row = Eigen::Map<Eigen::ArrayXf>(ds.row(r), cols);
      ds_row = a.shape.scale * p_row * (ds_row - delta);
    }
    detail::map(detail::head_of(a.dv, k0, cols, item.head, dh)).noalias() +=
        detail::map(p).transpose() * detail::map(dout);
    detail::map(detail::head_of(a.dk, k0, cols, item.head, dh)).noalias() +=
        detail::map(ds).transpose() * detail::map(q);
    detail::map(detail::head_of(a.dq, q0, rows, h, dh)).noalias() += detail::map(ds) * detail::map(k);
  }
};
