#pragma once
#include <lamina/kernel/attention.hpp>
#include <lamina/kernel/cpu/dot_rows.hpp>
#include <lamina/kernel/cpu/softmax.hpp>

#include <vector>

/// Attention of sequences that have one query: decoding. Its time is that of reading the cache, so all heads read it
/// together, whole rows in the order of memory; one head alone would pick a piece of each row, where no hardware
/// prefetches. Keys are shared out in parts, each with a softmax of its own, and the parts of a sequence are joined in
/// their order: the result does not depend on the number of threads.
namespace lamina::kernel::detail {

/// Keys [first, first + keys) of the cache for query row `row`, the index of their result, and the number of parts.
struct KeyPart {
  int row, first, keys, index;
};
/// The result of a part for each head: the largest score, the sum of exponentials and (head_dim) the sum of values.
struct PartResult {
  float *top, *sum, *o;
  PartResult(float* data, const AttentionShape& s, int index)
      : top(data + index * floats(s)), sum(top + s.heads), o(sum + s.heads) {}
  static std::ptrdiff_t floats(const AttentionShape& s) { return std::ptrdiff_t{s.heads} * (2 + s.head_dim); }
};

/// Equal parts of at most this many keys.
inline constexpr int most_keys = 64;

/// s[h, j] = scale * q[h] . k[j] for the keys of a part and all heads. Four keys far apart share each load of a query,
/// for the reasons at dot_range.
inline void score_keys(const AttentionFwd<float>& a, const KeyPart& part, const Matrix<float>& s) {
  const int dh = a.shape.head_dim, group = a.shape.heads / a.shape.kv_heads, run = part.keys / 4;
  const int lanes = dot_lanes(best_tile().isa), whole = lanes == 0 ? 0 : dh / (2 * lanes) * (2 * lanes);
  const auto each_head = [&](auto score) {
    for (int kv = 0; kv < a.shape.kv_heads; ++kv) {
      const float* q = a.q.row(part.row) + kv * group * dh;
      score(Gemm{.rows = group,
                 .cols = part.keys,
                 .depth = dh,
                 .a = {q, dh},
                 .b = {{a.k.row(part.first) + kv * dh, DType::F32, part.keys, dh, a.k.stride}, true},
                 .c = s.row(kv * group),
                 .c_row = s.stride,
                 .alpha = a.shape.scale},
            ArrangedRows{q, dh, whole, lanes});  // load_two keeps the order of fp32
    }
  };
  for (int i = 0; i < run; ++i)
    each_head([&](const Gemm& g, const ArrangedRows& x) { dot_all_rows<float, 4>(g, x, i, run); });
  for (int j = 4 * run; j < part.keys; ++j)
    each_head([&](const Gemm& g, const ArrangedRows& x) { dot_all_rows<float, 1>(g, x, j, 1); });
}

/// o[h] += sum_c p[h, j + c * apart] v[j + c * apart], c < N, for all heads.
template <int N>
void add_values(const AttentionFwd<float>& a, const KeyPart& part, const Matrix<float>& p, float* o, int j, int apart) {
  const int dh = a.shape.head_dim, group = a.shape.heads / a.shape.kv_heads;
  for (int h = 0; h < a.shape.heads; ++h) {
    const float *v[N], *weights = p.row(h) + j;
    float x[N];
    for (int c = 0; c < N; ++c) v[c] = a.v.row(part.first + j + c * apart) + h / group * dh, x[c] = weights[c * apart];
    float* __restrict out = o + h * dh;
    for (int d = 0; d < dh; ++d) {
      float sum = x[0] * v[0][d];
      for (int c = 1; c < N; ++c) sum += x[c] * v[c][d];
      out[d] += sum;
    }
  }
}

inline void attend_part(const AttentionFwd<float>& a, const KeyPart& part, PartResult out) {
  struct Scores {};
  const Matrix<float> s(scratch<Scores>(static_cast<std::size_t>(a.shape.heads) * most_keys), a.shape.heads, part.keys,
                        most_keys);
  score_keys(a, part, s);
  for (int h = 0; h < a.shape.heads; ++h) {
    out.top[h] = row_max(s.row(h), part.keys);
    out.sum[h] = exp_row(s.row(h), part.keys, out.top[h]);
  }
  std::fill_n(out.o, a.shape.heads * a.shape.head_dim, 0.0f);
  const int run = part.keys / 4;
  for (int i = 0; i < run; ++i) add_values<4>(a, part, s, out.o, i, run);
  for (int j = 4 * run; j < part.keys; ++j) add_values<1>(a, part, s, out.o, j, 1);
}

/// o and lse of one head from the parts [first, last) of its keys.
inline void join_parts(const AttentionFwd<float>& a, float* results, int row, int head, int first, int last) {
  const int dh = a.shape.head_dim;
  float* o = a.o.row(row) + head * dh;
  std::fill_n(o, dh, 0.0f);
  float top = -INFINITY, sum = 0;
  for (int i = first; i < last; ++i) top = std::max(top, PartResult(results, a.shape, i).top[head]);
  for (int i = first; i < last; ++i) {
    const PartResult part(results, a.shape, i);
    const float weight = std::exp(part.top[head] - top);
    sum += weight * part.sum[head];
    for (int d = 0; d < dh; ++d) o[d] += weight * part.o[head * dh + d];
  }
  for (int d = 0; first < last && d < dh; ++d) o[d] /= sum;
  if (a.lse) a.lse[std::ptrdiff_t{row} * a.shape.heads + head] = top + std::log(sum);
}

/// Forward of the sequences that have one query, which sees every key.
inline void attend_single_queries(const AttentionFwd<float>& a) {
  struct Results {};
  std::vector<KeyPart> parts;
  std::vector<int> rows, starts;  // query rows; where the parts of each begin
  for (int b = 0; b < a.sequences; ++b) {
    if (a.cu_q[b + 1] - a.cu_q[b] != 1) continue;
    const int keys = a.cu_k[b + 1] - a.cu_k[b], count = (keys + most_keys - 1) / most_keys;
    rows.push_back(a.cu_q[b]), starts.push_back(static_cast<int>(parts.size()));
    for (int i = 0; i < count; ++i) {
      const int first = static_cast<int>(std::int64_t{i} * keys / count),
                last = static_cast<int>(std::int64_t{i + 1} * keys / count);
      parts.push_back({a.cu_q[b], a.cu_k[b] + first, last - first, static_cast<int>(parts.size())});
    }
  }
  if (rows.empty()) return;
  starts.push_back(static_cast<int>(parts.size()));
  float* results = scratch<Results>(parts.size() * static_cast<std::size_t>(PartResult::floats(a.shape)));
  parallel_for(static_cast<std::int64_t>(parts.size()), [&](std::int64_t i) {
    const KeyPart& part = parts[static_cast<std::size_t>(i)];
    attend_part(a, part, PartResult(results, a.shape, part.index));
  });
  parallel_for(static_cast<std::int64_t>(rows.size()) * a.shape.heads, [&](std::int64_t i) {
    const auto sequence = static_cast<std::size_t>(i / a.shape.heads);
    join_parts(a, results, rows[sequence], static_cast<int>(i % a.shape.heads), starts[sequence], starts[sequence + 1]);
  });
}

}  // namespace lamina::kernel::detail
