#pragma once
#include <lamina/layer/adapter/adapter_on.hpp>

namespace lamina {

/// An adapted linear layer A whose own matrix and bias may learn in place of the adapter. The run decides which of the
/// two does: an adapter of rank 0 adds nothing, and a matrix without a gradient stays. Both at once are right for LoRA
/// alone: DoRA's base is scaled.
///
/// backward    A's;  dW += dy^T x;  db += sum_n dy
/// checkpoint  A's names
template <AdaptedLayer A>
struct LearningBase : A {
  using adapted = A;
  using adder = LearningBase;
  static constexpr Traits traits = [] {
    Traits t = A::traits;
    t.learns = true, t.freezes = false, t.adds = adds<A>;
    return t;
  }();

  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    A::backward(run, p, saved, dy, dx);
    if constexpr (R::mode::train) {
      float* db = nullptr;
      if constexpr (A::has_bias) db = p[1].grad;
      if (p[0].grad)
        kernel::matmul<typename R::backend>::backward_weight(
            run.stream, kernel::MatmulBwdWeight<T>{.dy = dy, .x = saved.x, .dw = p[0].matrix_grad(), .db = db});
    }
  }
};

}  // namespace lamina
