#pragma once
#include <lamina/kernel/attention/attention.hpp>
#include <lamina/kernel/cpu/attention/softmax.hpp>
#include <lamina/kernel/cpu/matmul/matmul.hpp>

namespace lamina::kernel::detail {

/// Independent work on one thread: in forward some query rows of one head, in backward one kv head of one sequence.
struct AttentionItem {
  int sequence, head, first, rows;
  std::int64_t cost;
};

/// Runs every item, each thread about the same cost. Items share no output, so who runs one does not matter.
template <class F>
void parallel_by_cost(std::vector<AttentionItem>& items, F run) {
  std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.cost > b.cost; });
  parallel_for_next(std::ssize(items), [&](std::int64_t i) { run(items[static_cast<std::size_t>(i)]); });
}

template <class T>
Matrix<T> head_of(Matrix<T> x, int row, int rows, int head, int dh) {
  return x.row_range(row, rows).columns(head * dh, dh);
}

/// Zeros before `begin` and from `end` on.
inline void keep_range(float* x, int begin, int end, int n) {
  std::fill_n(x, begin, 0.0f);
  std::fill_n(x + end, n - end, 0.0f);
}

inline void fill_zero(const Matrix<float>& x) {
  for (int i = 0; i < x.rows; ++i) std::fill_n(x.row(i), x.cols, 0.0f);
}

#if LAMINA_X86
/// c[m, n .. n + 8] = alpha a[m] . b[n .. n + 8] over a multiple of eight columns, and asks for later rows of b: those
/// of a cache are a page apart, where the hardware's prefetch does not follow; into the second level, as in the first
/// they would all fall on one set.
LAMINA_AVX2 inline void dot_eight_rows(const Matrix<const float>& a, const Matrix<const float>& b,
                                       const Matrix<float>& c, int n, int depth, float alpha) {
  for (int i = n + 16; i < std::min(n + 24, b.rows); ++i) {
    for (int k = 0; k < depth; k += 16) __builtin_prefetch(b.row(i) + k, 0, 2);
  }
  for (int m = 0; m < a.rows; ++m) {
    __m256 sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sum[i] = _mm256_setzero_ps();
    for (int k = 0; k < depth; k += 8) {
      const __m256 x = _mm256_loadu_ps(a.row(m) + k);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sum[i] = _mm256_fmadd_ps(x, _mm256_loadu_ps(b.row(n + i) + k), sum[i]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) sum[i] = _mm256_hadd_ps(sum[i], sum[i + 1]);
    const __m256 low = _mm256_hadd_ps(sum[0], sum[2]), high = _mm256_hadd_ps(sum[4], sum[6]);  // halves of four sums
    const __m256 total =
        _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
    _mm256_storeu_ps(c.row(m) + n, _mm256_mul_ps(_mm256_set1_ps(alpha), total));
  }
}
#endif
/// c = alpha a b^T for too few rows of a to pay for packing b.
inline void product_nt_rows(const Matrix<const float>& a, const Matrix<const float>& b, const Matrix<float>& c,
                            float alpha) {
  int n = 0;
#if LAMINA_X86
  if (best_tile().isa != Isa::plain && a.cols % 8 == 0) {
    for (; n + 8 <= b.rows; n += 8) dot_eight_rows(a, b, c, n, a.cols, alpha);
  }
#endif
  for (; n < b.rows; ++n) {
    for (int m = 0; m < a.rows; ++m) {
      float sum = 0;
      for (int k = 0; k < a.cols; ++k) sum += a(m, k) * b(n, k);
      c(m, n) = alpha * sum;
    }
  }
}
/// c = alpha a b^T, on this thread.
inline void product_nt(const Matrix<const float>& a, const Matrix<const float>& b, const Matrix<float>& c,
                       float alpha) {
  if (a.rows <= dot_rows_limit) return product_nt_rows(a, b, c, alpha);
  gemm_serial(best_tile(), {.rows = a.rows,
                            .cols = b.rows,
                            .depth = a.cols,
                            .a = {a.data, a.stride},
                            .b = {as_weight(b), true},
                            .c = c.data,
                            .c_row = c.stride,
                            .alpha = alpha});
}
/// c += a b for too few rows to pay for packing b: four rows of b at a time, in the order of their index.
inline void add_product_rows(const Matrix<const float>& a, const Matrix<const float>& b, const Matrix<float>& c) {
  for (int k = 0; k < a.cols; k += 4) {
    const int some = std::min(4, a.cols - k);
    const float* rows[4];
    for (int i = 0; i < 4; ++i) {
      rows[i] = b.row(k + std::min(i, some - 1));
      const float* ahead = b.row(std::min(k + i + 16, a.cols - 1));  // rows of a cache are a page apart
      for (int n = 0; n < b.cols; n += 16) __builtin_prefetch(ahead + n, 0, 2);
    }
    for (int m = 0; m < a.rows; ++m) {
      float x[4] = {};
      std::copy_n(a.row(m) + k, some, x);
      float* __restrict out = c.row(m);
      for (int n = 0; n < b.cols; ++n) {
        out[n] += (x[0] * rows[0][n] + x[1] * rows[1][n]) + (x[2] * rows[2][n] + x[3] * rows[3][n]);
      }
    }
  }
}
/// c += a b.
inline void add_product(const Matrix<const float>& a, const Matrix<const float>& b, const Matrix<float>& c) {
  if (a.rows <= dot_rows_limit) return add_product_rows(a, b, c);
  gemm_serial(best_tile(), {.rows = a.rows,
                            .cols = b.cols,
                            .depth = a.cols,
                            .a = {a.data, a.stride},
                            .b = {as_weight(b)},
                            .c = c.data,
                            .c_row = c.stride,
                            .beta = 1});
}
/// c += a^T b.
inline void add_product_tn(const Matrix<const float>& a, const Matrix<const float>& b, const Matrix<float>& c) {
  gemm_serial(best_tile(), {.rows = a.cols,
                            .cols = b.cols,
                            .depth = a.rows,
                            .a = {a.data, a.stride, true},
                            .b = {as_weight(b)},
                            .c = c.data,
                            .c_row = c.stride,
                            .beta = 1});
}

inline void expect_heads(const AttentionShape& s) {
  if (s.heads < 1 || s.kv_heads < 1 || s.head_dim < 1 || s.heads % s.kv_heads != 0) {
    fail("attention: ", s.heads, " heads of ", s.head_dim, " over ", s.kv_heads,
         " kv heads; wanted positive counts and heads a multiple of kv heads");
  }
  if (s.window < 0 || (s.window > 0 && !s.causal))
    fail("attention: a window of ", s.window, " keys; wanted 0 or more, and causal attention with one");
}

}  // namespace lamina::kernel::detail

/// Blocks of queries against blocks of keys with a running softmax: the scores of a sequence are never held at once.
template <>
struct lamina::kernel::attention<lamina::Cpu> {
  /// Multiples of every register tile's rows and columns, whose two blocks of scores stay in the second-level cache.
  static constexpr int query_block = 96, key_block = 192;

  template <class T>
  static void forward(Stream<Cpu>, const AttentionFwd<T>& a);

  template <class T>
  static void backward(Stream<Cpu>, const AttentionBwd<T>& a);

 private:
  struct Scores {};
  struct Deltas {};
  static Matrix<float> block(float* data, int rows, int cols) { return {data, rows, cols, key_block}; }

  /// (head, block of queries) of all sequences.
  static std::vector<detail::AttentionItem> forward_items(const AttentionFwd<float>& a) {
    std::vector<detail::AttentionItem> items;
    for (int b = 0; b < a.sequences; ++b) {
      const int queries = a.cu_q[b + 1] - a.cu_q[b], keys = a.cu_k[b + 1] - a.cu_k[b];
      for (int h = 0; h < a.shape.heads; ++h) {
        for (int i = 0; i < queries; i += query_block) {
          const int rows = std::min(query_block, queries - i);
          items.push_back({b, h, i, rows,
                           rows * (std::int64_t{1} + plain::visible_keys(a.shape, i + rows - 1, queries, keys) -
                                   plain::hidden_keys(a.shape, i, queries, keys))});
        }
      }
    }
    return items;
  }

  static void forward_block(const AttentionFwd<float>& a, const detail::AttentionItem& item) {
    const int dh = a.shape.head_dim, group = a.shape.heads / a.shape.kv_heads;
    const int row = a.cu_q[item.sequence] + item.first;
    const auto q = detail::head_of(a.q, row, item.rows, item.head, dh);
    const auto o = detail::head_of(a.o, row, item.rows, item.head, dh);
    float* lse = a.lse ? a.lse + std::ptrdiff_t{row} * a.shape.heads + item.head : nullptr;
    softmax_rows(a, item, item.head / group, q, o, lse);
  }

  /// Rows of q that look at the same keys; row i is query item.first + i of its sequence.
  static void softmax_rows(const AttentionFwd<float>& a, const detail::AttentionItem& item, int kv,
                           Matrix<const float> q, Matrix<float> o, float* lse) {
    const int queries = a.cu_q[item.sequence + 1] - a.cu_q[item.sequence], dh = a.shape.head_dim;
    const int k0 = a.cu_k[item.sequence], keys = a.cu_k[item.sequence + 1] - k0;
    float top[query_block], sum[query_block];
    std::fill_n(top, q.rows, -INFINITY);
    std::fill_n(sum, q.rows, 0.0f);
    detail::fill_zero(o);
    const int last = plain::visible_keys(a.shape, item.first + q.rows - 1, queries, keys);
    const int begin = plain::hidden_keys(a.shape, item.first, queries, keys) / key_block * key_block;
    for (int j = begin; j < last; j += key_block) {
      const int cols = std::min(key_block, last - j);
      const auto s = block(detail::scratch<Scores>(query_block * key_block), q.rows, cols);
      detail::product_nt(q, detail::head_of(a.k, k0 + j, cols, kv, dh), s, a.shape.scale);
      for (int i = 0; i < q.rows; ++i) {
        const int seen = std::clamp(plain::visible_keys(a.shape, item.first + i, queries, keys) - j, 0, cols);
        const int hidden = std::clamp(plain::hidden_keys(a.shape, item.first + i, queries, keys) - j, 0, seen);
        detail::keep_range(s.row(i), hidden, seen, cols);
        if (seen == hidden) continue;
        const float now = std::max(top[i], detail::row_max(s.row(i) + hidden, seen - hidden));
        const float shrink = now == top[i] ? 1.0f : std::exp(top[i] - now);
        sum[i] = sum[i] * shrink + detail::exp_row(s.row(i) + hidden, seen - hidden, now);
        top[i] = now;
        for (int d = 0; shrink != 1 && d < dh; ++d) o(i, d) *= shrink;
      }
      detail::add_product(s, detail::head_of(a.v, k0 + j, cols, kv, dh), o);
    }
    for (int i = 0; i < q.rows; ++i) {
      for (int d = 0; sum[i] != 0 && d < dh; ++d) o(i, d) /= sum[i];
      if (lse) lse[std::ptrdiff_t{i} * a.shape.heads] = top[i] + std::log(sum[i]);
    }
  }

  static const int* cu_k(const AttentionBwd<float>& a) { return a.cu_k ? a.cu_k : a.cu; }

  static void backward_head(const AttentionBwd<float>& a, const detail::AttentionItem& item) {
    const int dh = a.shape.head_dim, group = a.shape.heads / a.shape.kv_heads, start = a.cu[item.sequence];
    const int k0 = cu_k(a)[item.sequence], keys = cu_k(a)[item.sequence + 1] - k0;
    detail::fill_zero(detail::head_of(a.dk, k0, keys, item.head, dh));
    detail::fill_zero(detail::head_of(a.dv, k0, keys, item.head, dh));
    for (int h = item.head * group; h < (item.head + 1) * group; ++h) {
      detail::fill_zero(detail::head_of(a.dq, start, item.rows, h, dh));
      for (int i = 0; i < item.rows; i += query_block) {
        const int rows = std::min(query_block, item.rows - i);
        const int last = plain::visible_keys(a.shape, i + rows - 1, item.rows, keys);
        float delta[query_block];
        for (int r = 0; r < rows; ++r)
          delta[r] = plain::head_dot<float>(a.dout, start + i + r, h, a.o, start + i + r, h, dh);
        const int begin = plain::hidden_keys(a.shape, i, item.rows, keys) / key_block * key_block;
        for (int j = begin; j < last; j += key_block)
          backward_block(a, item, h, delta, i, rows, j, std::min(key_block, last - j));
      }
    }
  }

  /// Queries [i, i + rows) of head h against keys [j, j + cols) of its kv head; delta[r] = dout[i + r] . o[i + r].
  static void backward_block(const AttentionBwd<float>& a, const detail::AttentionItem& item, int h, const float* delta,
                             int i, int rows, int j, int cols) {
    const int dh = a.shape.head_dim, q0 = a.cu[item.sequence] + i, first_key = cu_k(a)[item.sequence];
    const int k0 = first_key + j, keys = cu_k(a)[item.sequence + 1] - first_key;
    const auto q = detail::head_of(a.q, q0, rows, h, dh), dout = detail::head_of(a.dout, q0, rows, h, dh);
    const auto k = detail::head_of(a.k, k0, cols, item.head, dh), v = detail::head_of(a.v, k0, cols, item.head, dh);
    const auto p = block(detail::scratch<Scores>(query_block * key_block), rows, cols);
    const auto ds = block(detail::scratch<Deltas>(query_block * key_block), rows, cols);
    detail::product_nt(q, k, p, a.shape.scale);
    detail::product_nt(dout, v, ds, 1);
    for (int r = 0; r < rows; ++r) {
      const int seen = std::clamp(plain::visible_keys(a.shape, i + r, item.rows, keys) - j, 0, cols);
      const int hidden = std::clamp(plain::hidden_keys(a.shape, i + r, item.rows, keys) - j, 0, seen);
      detail::exp_row(p.row(r) + hidden, seen - hidden, a.lse[std::ptrdiff_t{q0 + r} * a.shape.heads + h]);
      for (int c = hidden; c < seen; ++c) ds(r, c) = a.shape.scale * p(r, c) * (ds(r, c) - delta[r]);
      detail::keep_range(p.row(r), hidden, seen, cols);
      detail::keep_range(ds.row(r), hidden, seen, cols);
    }
    detail::add_product_tn(p, dout, detail::head_of(a.dv, k0, cols, item.head, dh));
    detail::add_product_tn(ds, q, detail::head_of(a.dk, k0, cols, item.head, dh));
    detail::add_product(ds, k, detail::head_of(a.dq, q0, rows, h, dh));
  }
};

template <class T>
void lamina::kernel::attention<lamina::Cpu>::forward(Stream<Cpu>, const AttentionFwd<T>& a) {
  const auto& s = a.shape;
  detail::expect_heads(s);
  detail::expect_shape("attention", "q", a.q.rows, a.q.cols, a.o.rows, s.heads * s.head_dim);
  detail::expect_shape("attention", "o", a.o.rows, a.o.cols, a.q.rows, s.heads * s.head_dim);
  detail::expect_shape("attention", "k", a.k.rows, a.k.cols, a.v.rows, s.kv_heads * s.head_dim);
  detail::expect_shape("attention", "v", a.v.rows, a.v.cols, a.k.rows, s.kv_heads * s.head_dim);
  if constexpr (std::is_same_v<T, float>) {
    std::vector<detail::AttentionItem> items = forward_items(a);
    detail::parallel_by_cost(items, [&](const detail::AttentionItem& item) { forward_block(a, item); });
  } else {
    plain::attention_forward(a);
  }
}
template <class T>
void lamina::kernel::attention<lamina::Cpu>::backward(Stream<Cpu>, const AttentionBwd<T>& a) {
  const auto& s = a.shape;
  detail::expect_heads(s);
  detail::expect_shape("attention", "dout", a.dout.rows, a.dout.cols, a.q.rows, s.heads * s.head_dim);
  detail::expect_shape("attention", "dq", a.dq.rows, a.dq.cols, a.q.rows, s.heads * s.head_dim);
  const int keys = a.cu_k ? a.k.rows : a.q.rows;
  detail::expect_shape("attention", "dk", a.dk.rows, a.dk.cols, keys, s.kv_heads * s.head_dim);
  detail::expect_shape("attention", "dv", a.dv.rows, a.dv.cols, keys, s.kv_heads * s.head_dim);
  if constexpr (std::is_same_v<T, float>) {
    std::vector<detail::AttentionItem> items;
    for (int b = 0; b < a.sequences; ++b) {
      const int length = a.cu[b + 1] - a.cu[b];
      const int seen = cu_k(a)[b + 1] - cu_k(a)[b];
      for (int h = 0; length + seen > 0 && h < s.kv_heads; ++h)
        items.push_back({b, h, 0, length, std::int64_t{length} * seen});
    }
    detail::parallel_by_cost(items, [&](const detail::AttentionItem& item) { backward_head(a, item); });
  } else {
    plain::attention_backward(a);
  }
}
