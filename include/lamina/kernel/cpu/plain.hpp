#pragma once
#include <lamina/core/quantization/matrix.hpp>
#include <lamina/kernel/attention/attention.hpp>
#include <lamina/kernel/logits/head_loss.hpp>
#include <lamina/kernel/matmul/matmul.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

/// The specification of the heavy kernels: the equations of their contracts as loops, for every element type.
/// The fast kernels are proved against these; element types without a fast kernel run them.
namespace lamina::kernel::plain {

/// w[r, c] as fp32, whatever the weight's element type.
inline float weight_at(const Weight& w, int r, int c) {
  if (w.quantized) {
    const QuantizedMatrix& part = part_of_row(w.quantized, r);
    return part(r, c);
  }
  const std::ptrdiff_t at = r * w.stride + c;
  switch (w.dtype) {
    case DType::BF16:
      return to_f32(static_cast<const bf16*>(w.data)[at]);
    case DType::F16:
      return to_f32(static_cast<const f16*>(w.data)[at]);
    default:
      return static_cast<const float*>(w.data)[at];
  }
}

/// Writes alpha * sum (+ bias) + beta * y; beta = 0 does not read y.
template <class T>
void store(T& y, float sum, float alpha, float bias, float beta) {
  const float value = alpha * sum + bias;
  y = round_to<T>(beta == 0 ? value : value + beta * to_f32(y));
}

template <class T>
void matmul_forward(const MatmulFwd<T>& a) {
  for (int m = 0; m < a.x.rows; ++m) {
    for (int n = 0; n < a.w.rows; ++n) {
      float sum = 0;
      for (int k = 0; k < a.w.cols; ++k) sum += to_f32(a.x(m, k)) * weight_at(a.w, n, k);
      store(a.y(m, n), sum, a.alpha, a.bias ? to_f32(a.bias[n]) : 0.0f, a.beta);
    }
  }
}

template <class T>
void matmul_backward_input(const MatmulBwdInput<T>& a) {
  for (int m = 0; m < a.dy.rows; ++m) {
    for (int k = 0; k < a.w.cols; ++k) {
      float sum = 0;
      for (int n = 0; n < a.w.rows; ++n) sum += to_f32(a.dy(m, n)) * weight_at(a.w, n, k);
      store(a.dx(m, k), sum, a.alpha, 0.0f, a.beta);
    }
  }
}

template <class T>
void matmul_backward_weight(const MatmulBwdWeight<T>& a) {
  for (int n = 0; n < a.dw.rows; ++n) {
    for (int k = 0; k < a.dw.cols; ++k) {
      float sum = 0;
      for (int m = 0; m < a.dy.rows; ++m) sum += to_f32(a.dy(m, n)) * to_f32(a.x(m, k));
      a.dw(n, k) += a.alpha * sum;
    }
    for (int m = 0; a.db && m < a.dy.rows; ++m) a.db[n] += to_f32(a.dy(m, n));
  }
}

/// The dot product of one head's slice of two rows.
template <class T>
float head_dot(const Matrix<const T>& a, int row_a, int head_a, const Matrix<const T>& b, int row_b, int head_b,
               int dh) {
  float sum = 0;
  for (int d = 0; d < dh; ++d) sum += to_f32(a(row_a, head_a * dh + d)) * to_f32(b(row_b, head_b * dh + d));
  return sum;
}

/// Keys that query `i` of `queries` sees among `keys`.
inline int visible_keys(const AttentionShape& shape, int i, int queries, int keys) {
  return shape.causal ? std::clamp(i + 1 + keys - queries, 0, keys) : keys;
}

/// Of these, how many from the first on are outside its window.
inline int hidden_keys(const AttentionShape& shape, int i, int queries, int keys) {
  return shape.causal && shape.window > 0 ? std::clamp(i + 1 + keys - queries - shape.window, 0, keys) : 0;
}

/// For a query that sees no key, o = 0 and lse = -infinity.
template <class T>
void attention_forward(const AttentionFwd<T>& a) {
  const auto [heads, kv_heads, dh, scale, causal, window] = a.shape;
  std::vector<float> p;
  for (int b = 0; b < a.sequences; ++b) {
    const int q0 = a.cu_q[b], k0 = a.cu_k[b], queries = a.cu_q[b + 1] - q0, keys = a.cu_k[b + 1] - k0;
    for (int i = 0; i < queries; ++i) {
      for (int h = 0; h < heads; ++h) {
        const int kv = h / (heads / kv_heads), seen = visible_keys(a.shape, i, queries, keys),
                  hidden = hidden_keys(a.shape, i, queries, keys);
        p.assign(static_cast<std::size_t>(seen), -INFINITY);
        float top = -INFINITY, sum = 0;
        for (int j = hidden; j < seen; ++j)
          top = std::max(top, p[j] = scale * head_dot(a.q, q0 + i, h, a.k, k0 + j, kv, dh));
        for (float& s : p) sum += s = std::exp(s - top);
        if (a.lse) a.lse[static_cast<std::ptrdiff_t>(q0 + i) * heads + h] = top + std::log(sum);
        for (int d = 0; d < dh; ++d) {
          float o = 0;
          for (int j = hidden; j < seen; ++j) o += p[j] * to_f32(a.v(k0 + j, kv * dh + d));
          a.o(q0 + i, h * dh + d) = round_to<T>(seen ? o / sum : 0.0f);
        }
      }
    }
  }
}

template <class T>
void attention_backward(const AttentionBwd<T>& a) {
  const auto [heads, kv_heads, dh, scale, causal, window] = a.shape;
  const std::size_t tokens = a.q.rows, keys = a.k.rows;
  const int* cu_k = a.cu_k ? a.cu_k : a.cu;
  std::vector<float> dq(tokens * heads * dh), dk(keys * kv_heads * dh), dv(keys * kv_heads * dh);
  for (int b = 0; b < a.sequences; ++b) {
    const int first = a.cu[b], length = a.cu[b + 1] - first, k0 = cu_k[b], own_keys = cu_k[b + 1] - k0;
    for (int i = 0; i < length; ++i) {
      for (int h = 0; h < heads; ++h) {
        const int kv = h / (heads / kv_heads), row = first + i;
        const float delta = head_dot<T>(a.dout, row, h, a.o, row, h, dh);
        const int seen = visible_keys(a.shape, i, length, own_keys);
        for (int j = hidden_keys(a.shape, i, length, own_keys); j < seen; ++j) {
          const int key = k0 + j;
          const float s = scale * head_dot(a.q, row, h, a.k, key, kv, dh);
          const float p = std::exp(s - a.lse[static_cast<std::ptrdiff_t>(row) * heads + h]);
          const float ds = scale * p * (head_dot(a.dout, row, h, a.v, key, kv, dh) - delta);
          for (int d = 0; d < dh; ++d) {
            const std::size_t q_at = (static_cast<std::size_t>(row) * heads + h) * dh + d;
            const std::size_t k_at = (static_cast<std::size_t>(key) * kv_heads + kv) * dh + d;
            dq[q_at] += ds * to_f32(a.k(key, kv * dh + d));
            dk[k_at] += ds * to_f32(a.q(row, h * dh + d));
            dv[k_at] += p * to_f32(a.dout(row, h * dh + d));
          }
        }
      }
    }
  }
  for (std::size_t n = 0; n < tokens; ++n)
    for (int c = 0; c < heads * dh; ++c) a.dq(n, c) = round_to<T>(dq[n * heads * dh + c]);
  for (std::size_t n = 0; n < keys; ++n) {
    for (int c = 0; c < kv_heads * dh; ++c) a.dk(n, c) = round_to<T>(dk[n * kv_heads * dh + c]);
    for (int c = 0; c < kv_heads * dh; ++c) a.dv(n, c) = round_to<T>(dv[n * kv_heads * dh + c]);
  }
}

template <class T>
void head_loss(const HeadLoss<T>& a) {
  std::vector<float> z(static_cast<std::size_t>(a.w.rows));
  for (int m = 0; m < a.x.rows; ++m) {
    for (int v = 0; v < a.w.rows; ++v) {
      z[v] = 0;
      for (int d = 0; d < a.w.cols; ++d) z[v] += to_f32(a.x(m, d)) * weight_at(a.w, v, d);
    }
    const float top = *std::max_element(z.begin(), z.end());
    double sum = 0;
    for (float s : z) sum += std::exp(s - top);
    const float lse = top + static_cast<float>(std::log(sum));
    const float nll = lse - z[a.target[m]], e = a.loss.smoothing, share = 1 / static_cast<float>(a.w.rows),
                probability = a.loss.by_probability ? std::exp(-nll) : 1;
    double mean = 0;
    for (float s : z) mean += static_cast<double>(share * (lse - s));
    if (a.hit) a.hit[m] = std::max_element(z.begin(), z.end()) == z.begin() + a.target[m] ? 1 : 0;
    if (a.mean_logit) a.mean_logit[m] = lse - static_cast<float>(mean);
    a.nll[m] = probability * ((1 - e) * nll + e * static_cast<float>(mean));
    if (!a.dx && !a.dw) continue;
    for (int v = 0; v < a.w.rows; ++v)
      z[v] = a.weight[m] * probability * (std::exp(z[v] - lse) - (v == a.target[m] ? 1 - e : 0.0f) - e * share);
    for (int d = 0; a.dx && d < a.w.cols; ++d) {
      float sum_v = 0;
      for (int v = 0; v < a.w.rows; ++v) sum_v += z[v] * weight_at(a.w, v, d);
      a.dx(m, d) = round_to<T>(sum_v);
    }
    for (int v = 0; a.dw && v < a.w.rows; ++v) {
      for (int d = 0; d < a.w.cols; ++d) a.dw(v, d) += z[v] * to_f32(a.x(m, d));
    }
  }
}

}  // namespace lamina::kernel::plain
