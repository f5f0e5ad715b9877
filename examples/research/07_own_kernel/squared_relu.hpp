#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/kernel/no_kernels.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/lamina.hpp>

/// An operation of one's own: its contract, its kernel for the CPU, its line in a plan, and the layer that calls it.
/// squared_relu.cu has the kernel for GPUs.
namespace mine {
using namespace lamina;

/// y = max(x, 0)^2, both (N, D).   source  So et al. 2021, arXiv:2109.08668, section 4
template <class T>
struct SquaredReluFwd {
  Matrix<const T> x;
  Matrix<T> y;
};
/// dx = 2 max(x, 0) dy; dx may be dy.
template <class T>
struct SquaredReluBwd {
  Matrix<const T> x, dy;
  Matrix<T> dx;
};

template <class B>
struct squared_relu {
  static void forward(auto...) { kernel::no_kernels<B>(); }
  static void backward(auto...) { kernel::no_kernels<B>(); }
};

template <>
struct squared_relu<Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const SquaredReluFwd<T>& a) {
    parallel_for(a.x.rows, [=](std::int64_t n) {
      for (int i = 0; i < a.x.cols; ++i) {
        const float x = std::max(to_f32(a.x.row(n)[i]), 0.0f);
        a.y.row(n)[i] = round_to<T>(x * x);
      }
    });
  }
  template <class T>
  static void backward(Stream<Cpu>, const SquaredReluBwd<T>& a) {
    parallel_for(a.x.rows, [=](std::int64_t n) {
      for (int i = 0; i < a.x.cols; ++i)
        a.dx.row(n)[i] = round_to<T>(2 * std::max(to_f32(a.x.row(n)[i]), 0.0f) * to_f32(a.dy.row(n)[i]));
    });
  }
};

/// What describe() and the memory plan see of it.
template <>
struct squared_relu<Plan> {
  static void forward(Stream<Plan> s, const auto&...) { s.launch("squared_relu_fwd"); }
  static void backward(Stream<Plan> s, const auto&...) { s.launch("squared_relu_bwd"); }
};

/// Declared for every translation unit, defined in squared_relu.cu alone.
template <>
struct squared_relu<Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const SquaredReluFwd<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const SquaredReluBwd<T>& a);
};

/// The layer: it calls the operation by name and does not know which device it is on.
template <int D>
struct SquaredRelu {
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<>;
  static constexpr Traits traits{};
  static constexpr std::int64_t flops_per_row = 2 * D;
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter*, S& saved, X x, Y y) {
    saved.x = x;
    squared_relu<typename R::backend>::forward(run.stream, SquaredReluFwd<typename R::T>{.x = x, .y = y});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter*, S& saved, DY dy, DX dx) {
    if (dx)
      squared_relu<typename R::backend>::backward(run.stream,
                                                  SquaredReluBwd<typename R::T>{.x = saved.x, .dy = dy, .dx = dx});
  }
};

}  // namespace mine
