#pragma once
#include <lamina/core/objective/token_loss.hpp>
#include <lamina/kernel/matmul/matmul.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// Output head and cross-entropy in one, on labelled rows only, without ever holding all logits (M, V).
///
///     z = x W^T      nll[m] = log sum_v exp z[m,v] - z[m, target[m]]      dz = weight[m] * (softmax(z[m]) - onehot)
///     dx = dz W      dW += dz^T x
///
/// This is the plain TokenLoss; nll and dz of the others follow from theirs.
/// If asked for, mean_logit[m] is the mean of z[m] over the vocabulary, and hit[m] is 1 if target[m] is the first of
/// its largest elements, else 0. x, dx (M, D); W (V, D); target, weight, nll, mean_logit, hit (M). The softmax is fp32.
/// dx and dw may be null (evaluation; frozen head). Targets are in [0, V): the CPU checks it, on a GPU that is left to
/// the code that uploads them.
namespace lamina::kernel {

template <class T>
struct HeadLoss {
  Matrix<const T> x;
  Weight w;
  const int* target = nullptr;
  const float* weight = nullptr;
  float* nll = nullptr;
  Matrix<T> dx;
  Matrix<float> dw;
  TokenLoss loss = {};
  float* mean_logit = nullptr;
  float* hit = nullptr;
};

template <class B>
struct head_loss {
  static void run(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
