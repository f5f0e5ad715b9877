#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// Softmax attention over packed sequences with grouped queries: query head h reads key/value head h / (H / K).
///
///     s[i,j] = scale * q[i] . k[j]     o[i] = sum_j softmax_j(s[i,:]) v[j]     lse[i] = log sum_j exp s[i,j]
///
/// Sequence b owns query rows cu_q[b] .. cu_q[b+1] and key rows cu_k[b] .. cu_k[b+1] (int32, on the backend).
/// causal: query i of a sequence sees keys j <= i + (Lk - Lq), so a chunk may attend to a longer cache; with a window W
/// only the last W of these, its own among them.   source: Beltagy et al. 2020, arXiv:2004.05150
/// For a query that sees no key, o = 0 and lse = -infinity. An exponential below 2^-126, fp32's smallest normal
/// number, may come out as 0.
///
/// backward: D = rowsum(dO * O), P = exp(s - lse), dS = P * (dO V^T - D); dq, dk, dv are overwritten, in a fixed
/// order, so two runs agree bit for bit.   source: Dao 2023, arXiv:2307.08691
namespace lamina::kernel {

struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 0;
  bool causal = false;
  int window = 0;  ///< of causal attention; 0: a query sees all keys before it
};

/// q, o (Nq, H*Dh); k, v (Nk, K*Dh); rows may be strided, so that q, k, v can share one buffer. lse (Nq, H), may be
/// null.
template <class T>
struct AttentionFwd {
  Matrix<const T> q, k, v;
  Matrix<T> o;
  float* lse = nullptr;
  const int* cu_q = nullptr;
  const int* cu_k = nullptr;
  int sequences = 0;
  AttentionShape shape;
  int longest = 0;  ///< no sequence has more queries, nor keys; 0: not known
};
template <class T>
struct AttentionBwd {
  Matrix<const T> q, k, v, o, dout;
  const float* lse = nullptr;
  Matrix<T> dq, dk, dv;
  const int* cu = nullptr;  ///< of queries, and of keys if they are the same tokens
  int sequences = 0;
  AttentionShape shape;
  int longest = 0;            ///< no sequence has more tokens; 0: not known
  const int* cu_k = nullptr;  ///< of keys that are other rows than queries; null: cu
};

template <class B>
struct attention {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
