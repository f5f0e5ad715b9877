#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/matmul/matmul.hpp>
#include <lamina/layer/adapter/adapter_rows.hpp>

namespace lamina {

struct NoBias {};
struct Bias {};

/// An affine map of each row.
///
///     y[n,o] = sum_i W[o,i] x[n,i] + b[o]
///
/// shapes      x, dx: (N, In);  y, dy: (N, Out);  W: (Out, In);  b: (Out)
/// numerics    sums in fp32; W keeps the checkpoint's element type; y rounded once, after the bias
/// backward    dx = dy W;  dW += dy^T x;  db += sum_n dy.  Saves its input if W learns, nothing if it does not
/// checkpoint  "<path>.weight", with Bias "<path>.bias"
template <int In_, int Out_, class WithBias = NoBias>
struct Linear {
  static_assert(In_ > 0 && Out_ > 0, "Linear<In, Out>: both widths must be positive");
  using In = Shape<Dyn, In_>;
  using Out = Shape<Dyn, Out_>;
  using adder = Linear;
  static constexpr bool has_bias = std::is_same_v<WithBias, Bias>;
  using weight = Param<name::weight, Shape<Out_, In_>, init::normal>;
  using params =
      std::conditional_t<has_bias, ParamList<weight, Param<name::bias, Shape<Out_>, init::zeros>>, ParamList<weight>>;
  static constexpr Traits traits{.learns = true,
                                 .strided_y = true,
                                 .strided_dx = true,
                                 .takes_row_terms = true,
                                 .adds = true,
                                 .saves_input_alone = true};

  template <class Mode>
  static constexpr Saves saves{.input = Mode::train};
  template <class Mode>
  using Saved = SavedInput<Mode>;
  template <class S, class X>
  static void save_input(S& saved, X x) {
    saved.x = x;
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    multiply(run, p, saved, x, y, 0);
  }
  template <class R, class S, class X, class Y>
  static void forward_add(R run, const Parameter* p, S& saved, X x, Y y) {
    multiply(run, p, saved, x, y, 1);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using matmul = kernel::matmul<typename R::backend>;
    if (dx) matmul::backward_input(run.stream, kernel::MatmulBwdInput<T>{.dy = dy, .w = p[0].value, .dx = dx});
    if constexpr (R::mode::train) {
      float* db = nullptr;
      if constexpr (has_bias) db = p[1].grad;
      if (p[0].grad)
        matmul::backward_weight(run.stream,
                                kernel::MatmulBwdWeight<T>{.dy = dy, .x = saved.x, .dw = p[0].matrix_grad(), .db = db});
    }
  }

 private:
  template <class R, class S, class X, class Y>
  static void multiply(R run, const Parameter* p, S& saved, X x, Y y, float beta) {
    using T = typename R::T;
    saved.x = x;
    const T* bias = nullptr;
    if constexpr (has_bias) bias = static_cast<const T*>(p[1].value.data);
    multiply_rows(run, p[0], p[0].value, bias, x, y, beta);
  }
};

/// Whether M is a plain Linear, which an adapter may replace.
template <class M>
inline constexpr bool is_linear = false;
template <int In, int Out, class B>
inline constexpr bool is_linear<Linear<In, Out, B>> = true;

}  // namespace lamina
