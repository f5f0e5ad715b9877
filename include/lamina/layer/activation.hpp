#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/elementwise/activation.hpp>

namespace lamina {

/// A scalar function of each element, y = f(x); saves its input.
/// source      GELU: Hendrycks & Gimpel 2016, arXiv:1606.08415
template <int D, class F>
struct Activation {
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<>;
  static constexpr Traits traits{.strided_y = true, .strided_dx = true};
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;
  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter*, S& saved, X x, Y y) {
    saved.x = x;
    kernel::activation<typename R::backend>::forward(run.stream, F{},
                                                     kernel::ActivationFwd<typename R::T>{.x = x, .y = y});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter*, S& saved, DY dy, DX dx) {
    if (dx)
      kernel::activation<typename R::backend>::backward(
          run.stream, F{}, kernel::ActivationBwd<typename R::T>{.x = saved.x, .dy = dy, .dx = dx});
  }
};

/// Choices of f for MLP<> and Merger<>: the exact GELU and its tanh approximation.
struct Gelu {
  template <int D>
  using layer = Activation<D, kernel::GeluErf>;
};
struct GeluTanh {
  template <int D>
  using layer = Activation<D, kernel::GeluTanh>;
};

/// The gate of SwiGLU: x holds gate and up side by side, y = silu(gate) * up.
///
/// shapes      x, dx: (N, 2F);  y, dy: (N, F)
/// backward    saves its input; silu is evaluated again
/// source      Shazeer 2020, arXiv:2002.05202
template <int F>
struct SiluGate {
  using In = Shape<Dyn, 2 * F>;
  using Out = Shape<Dyn, F>;
  using params = ParamList<>;
  static constexpr Traits traits{.strided_y = true, .strided_dx = true};
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;
  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter*, S& saved, X x, Y y) {
    saved.x = x;
    kernel::silu_gate<typename R::backend>::forward(run.stream, kernel::SiluGateFwd<typename R::T>{.x = x, .y = y});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter*, S& saved, DY dy, DX dx) {
    if (dx)
      kernel::silu_gate<typename R::backend>::backward(
          run.stream, kernel::SiluGateBwd<typename R::T>{.x = saved.x, .dy = dy, .dx = dx});
  }
};

}  // namespace lamina
