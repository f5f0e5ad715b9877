#pragma once
#include <lamina/core/grouped.hpp>
#include <lamina/kernel/elementwise/activation.hpp>
#include <lamina/kernel/elementwise/add.hpp>
#include <lamina/kernel/elementwise/dropout.hpp>
#include <lamina/kernel/matmul/add_adapters.hpp>
#include <lamina/kernel/matmul/gated_product.hpp>
#include <lamina/kernel/matmul/grouped_matmul.hpp>
#include <lamina/kernel/matmul/magnitude.hpp>
#include <lamina/kernel/ranks/across_ranks.hpp>

/// The operations that modules may use which run as one (core/grouped.hpp): those that treat every row alike are the
/// backend's own, products are grouped ones.
namespace lamina::kernel {

template <class B>
struct activation<Grouped<B>> : activation<B> {};
template <class B>
struct silu_gate<Grouped<B>> : silu_gate<B> {};
template <class B>
struct add<Grouped<B>> : add<B> {};
template <class B>
struct dropout<Grouped<B>> : dropout<B> {};
template <class B>
struct across_ranks<Grouped<B>> : across_ranks<B> {};

template <class B>
struct matmul<Grouped<B>> {
  template <class T>
  static void forward(Stream<Grouped<B>> s, const MatmulFwd<T>& a) {
    grouped_matmul<B>::forward(s, GroupedFwd<T>{a, s.groups, s.step_of(a.w), s.step_of(a.bias)});
  }
  template <class T>
  static void backward_input(Stream<Grouped<B>> s, const MatmulBwdInput<T>& a) {
    grouped_matmul<B>::backward_input(s, GroupedBwdInput<T>{a, s.groups, s.step_of(a.w)});
  }
  template <class T>
  static void backward_weight(Stream<Grouped<B>> s, const MatmulBwdWeight<T>& a) {
    grouped_matmul<B>::backward_weight(
        s, GroupedBwdWeight<T>{a, s.groups, s.gradient_step(a.dw.data), s.gradient_step(a.db)});
  }
};

template <class B>
struct gated_product<Grouped<B>> {
  template <class T>
  static void forward(Stream<Grouped<B>> s, const GatedProduct<T>& a) {
    matmul<Grouped<B>>::forward(s, MatmulFwd<T>{.x = a.x, .w = a.w, .y = a.h});
    silu_gate<B>::forward(s, SiluGateFwd<T>{.x = a.h, .y = a.y});
  }
};

template <class B>
struct add_adapters<Grouped<B>> {
  static void forward(auto...) { refuse(); }
  static void finish(auto...) { refuse(); }

 private:
  [[noreturn]] static void refuse() { fail("adapters by name: experts take none; merge the adapter into the model"); }
};
template <class B>
struct magnitude<Grouped<B>> {
  static void norms(auto...) { refuse(); }
  static void forward(auto...) { refuse(); }
  static void backward(auto...) { refuse(); }

 private:
  [[noreturn]] static void refuse() {
    fail("DoRA (use_dora): experts take no magnitudes; leave their layers out of lora_target, or train them with LoRA");
  }
};

}  // namespace lamina::kernel
