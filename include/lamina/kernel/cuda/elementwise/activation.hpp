#pragma once
#include <lamina/kernel/elementwise/activation.hpp>

/// F is GeluErf or GeluTanh. y may be x, dx may be dy.
template <>
struct lamina::kernel::activation<lamina::Cuda> {
  template <class F, class T>
  static void forward(Stream<Cuda> s, F, const ActivationFwd<T>& a);
  template <class F, class T>
  static void backward(Stream<Cuda> s, F, const ActivationBwd<T>& a);
};

/// dx may be x: each thread reads what it overwrites.
template <>
struct lamina::kernel::silu_gate<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const SiluGateFwd<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const SiluGateBwd<T>& a);
};
