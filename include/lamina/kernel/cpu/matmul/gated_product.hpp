#pragma once
#include <lamina/kernel/cpu/elementwise/activation.hpp>
#include <lamina/kernel/cpu/matmul/matmul.hpp>
#include <lamina/kernel/matmul/gated_product.hpp>

template <>
struct lamina::kernel::gated_product<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu> s, const GatedProduct<T>& a) {
    matmul<Cpu>::forward(s, MatmulFwd<T>{.x = a.x, .w = a.w, .y = a.h});
    silu_gate<Cpu>::forward(s, SiluGateFwd<T>{.x = a.h, .y = a.y});
  }
};
