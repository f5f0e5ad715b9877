#pragma once
#include <lamina/kernel/cpu/gemm/dot_rows.hpp>
#include <lamina/kernel/cpu/gemm/gemm.hpp>
#include <lamina/kernel/cpu/gemm/pairs.hpp>
#include <lamina/kernel/cpu/plain.hpp>
#include <lamina/kernel/expect.hpp>

#include <cstdlib>
#include <string_view>

namespace lamina::kernel::detail {

/// A matrix of activations as the right factor of a product.
inline Weight as_weight(const Matrix<const float>& x) { return {x.data, DType::F32, x.rows, x.cols, x.stride}; }

/// Whether the user has asked for products of bf16 pairs (LAMINA_CPU_BF16=1) and they pay. Without being asked every
/// CPU computes the same fp32 products: pairs round activations to bf16, which moved losses by up to 0.012. AMD
/// documents twice the rate of fp32 for them; on Intel's Sapphire Rapids they were measured at half of it (175 against
/// 334 GFLOP/s on two threads), so there widening the weights is faster as well.
inline bool uses_pairs() {
#if LAMINA_X86
  static const bool asked = cpu_bf16_variable();
  return asked && cpu_supports(Isa::avx512_bf16) && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

/// The variant of a product that suits its shape and the element type of its weight.
inline void gemm_transposed(const Gemm& g) {
  if (g.rows > dot_rows_limit || g.b.w.quantized) {
    if (uses_pairs() && can_pair(g)) return gemm_pairs(g);
    return gemm(best_tile(), g);
  }
  if (g.b.w.dtype == DType::BF16) return dot_rows<bf16>(best_tile().isa, g);
  if (g.b.w.dtype == DType::F16) return dot_rows<f16>(best_tile().isa, g);
  dot_rows<float>(best_tile().isa, g);
}

}  // namespace lamina::kernel::detail

/// Activations of fp32 run the fast kernels, others the specification. Sums, and the products of fp32 with weights of 2
/// bytes, are fp32; only if the user asks for pairs of bf16 does forward round x to bf16 against bf16 weights.
template <>
struct lamina::kernel::matmul<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const MatmulFwd<T>& a);
  template <class T>
  static void backward_input(Stream<Cpu>, const MatmulBwdInput<T>& a);
  template <class T>
  static void backward_weight(Stream<Cpu>, const MatmulBwdWeight<T>& a);
};

template <class T>
void lamina::kernel::matmul<lamina::Cpu>::forward(Stream<Cpu>, const MatmulFwd<T>& a) {
  detail::expect_weight("matmul", a.w, true);
  detail::expect_shape("matmul", "x", a.x.rows, a.x.cols, a.y.rows, a.w.cols);
  detail::expect_shape("matmul", "y", a.y.rows, a.y.cols, a.x.rows, a.w.rows);
  if constexpr (std::is_same_v<T, float>) {
    detail::gemm_transposed(detail::Gemm{.rows = a.x.rows,
                                         .cols = a.w.rows,
                                         .depth = a.w.cols,
                                         .a = {a.x.data, a.x.stride},
                                         .b = {a.w, true},
                                         .c = a.y.data,
                                         .c_row = a.y.stride,
                                         .alpha = a.alpha,
                                         .beta = a.beta,
                                         .bias = a.bias});
  } else {
    plain::matmul_forward(a);
  }
}
template <class T>
void lamina::kernel::matmul<lamina::Cpu>::backward_input(Stream<Cpu>, const MatmulBwdInput<T>& a) {
  detail::expect_weight("matmul", a.w, true);
  detail::expect_shape("matmul", "dy", a.dy.rows, a.dy.cols, a.dx.rows, a.w.rows);
  detail::expect_shape("matmul", "dx", a.dx.rows, a.dx.cols, a.dy.rows, a.w.cols);
  if constexpr (std::is_same_v<T, float>) {
    detail::gemm(detail::best_tile(), detail::Gemm{.rows = a.dy.rows,
                                                   .cols = a.w.cols,
                                                   .depth = a.w.rows,
                                                   .a = {a.dy.data, a.dy.stride},
                                                   .b = {a.w},
                                                   .c = a.dx.data,
                                                   .c_row = a.dx.stride,
                                                   .alpha = a.alpha,
                                                   .beta = a.beta});
  } else {
    plain::matmul_backward_input(a);
  }
}
template <class T>
void lamina::kernel::matmul<lamina::Cpu>::backward_weight(Stream<Cpu>, const MatmulBwdWeight<T>& a) {
  detail::expect_shape("matmul", "x", a.x.rows, a.x.cols, a.dy.rows, a.dw.cols);
  detail::expect_shape("matmul", "dw", a.dw.rows, a.dw.cols, a.dy.cols, a.x.cols);
  if constexpr (std::is_same_v<T, float>) {
    detail::gemm(detail::best_tile(), detail::Gemm{.rows = a.dw.rows,
                                                   .cols = a.dw.cols,
                                                   .depth = a.dy.rows,
                                                   .a = {a.dy.data, a.dy.stride, true},
                                                   .b = {detail::as_weight(a.x)},
                                                   .c = a.dw.data,
                                                   .c_row = a.dw.stride,
                                                   .alpha = a.alpha,
                                                   .beta = 1});
    for (int m = 0; a.db && m < a.dy.rows; ++m) {
      for (int n = 0; n < a.dy.cols; ++n) a.db[n] += a.dy(m, n);
    }
  } else {
    plain::matmul_backward_weight(a);
  }
}
