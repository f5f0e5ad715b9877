#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// The scalar functions, evaluated in fp32: f(x) and its derivative.
struct GeluErf {};   ///< x Phi(x)
struct GeluTanh {};  ///< 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))

/// y = f(x), both (N, D).
template <class T>
struct ActivationFwd {
  Matrix<const T> x;
  Matrix<T> y;
};
/// dx = dy f'(x).
template <class T>
struct ActivationBwd {
  Matrix<const T> x, dy;
  Matrix<T> dx;
};

/// x holds gate and up side by side, (N, 2F):  y = silu(gate) * up, (N, F);  silu(g) = g / (1 + exp(-g)).
template <class T>
struct SiluGateFwd {
  Matrix<const T> x;
  Matrix<T> y;
};
/// dx (N, 2F) from dy (N, F).
template <class T>
struct SiluGateBwd {
  Matrix<const T> x, dy;
  Matrix<T> dx;
};

template <class B>
struct activation {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};
template <class B>
struct silu_gate {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
