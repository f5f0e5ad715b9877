#pragma once
#include <lamina/layer/linear.hpp>

namespace lamina {

/// What the layers of all kinds of adapters have in common: a frozen linear layer L, and parameters P of the adapter's
/// own. A kind derives from it and writes forward and backward; the parameter array has L's parameters, then P from
/// place `own` on.
///
/// backward    saves its input
/// checkpoint  "<path>.<name of P>", in the adapter's file
template <class L, class... P>
struct AdapterOn : L {
  using base = L;
  using added_params = ParamList<P...>;
  static constexpr Traits traits = [] {
    Traits t = L::traits;
    t.learns = (P::learns || ...), t.freezes = true;
    return t;
  }();
  static constexpr int In_ = L::In::width, Out_ = L::Out::width, own = static_cast<int>(L::params::size);
  static constexpr float scale = 1;  ///< that Parameter::scale begins with

  template <class Mode>
  static constexpr Saves saves{.input = Mode::train};
  template <class Mode>
  using Saved = SavedInput<Mode>;

  /// The linear layer alone; it saves nothing.
  template <class R, class X, class Y>
  static void forward_base(R run, const Parameter* p, X x, Y y) {
    typename L::template Saved<typename R::mode::inference> nothing{};
    L::forward(run, p, nothing, x, y);
  }
  /// dx = dy W, if dx is wanted.
  template <class R, class DY, class DX>
  static void backward_base(R run, const Parameter* p, DY dy, DX dx) {
    using T = typename R::T;
    if (dx)
      kernel::matmul<typename R::backend>::backward_input(
          run.stream, kernel::MatmulBwdInput<T>{.dy = dy, .w = p[0].value, .dx = dx});
  }
};

/// Whether M is a layer with an adapter, of any kind.
template <class M>
concept AdaptedLayer = requires {
  typename M::base;
  typename M::added_params;
};

}  // namespace lamina
