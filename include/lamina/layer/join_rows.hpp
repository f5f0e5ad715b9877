#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/elementwise/add.hpp>

namespace lamina {

/// Joins each run of n rows into one: (N, D) -> (N / n, n * D). The numbers do not move, only their shape.
template <int n, int D>
struct JoinRows {
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, n * D>;
  using params = ParamList<>;
  static constexpr Traits traits{.row_divisor = n};
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  struct Saved {};
  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter*, S&, X x, Y y) {
    using T = typename R::T;
    kernel::add<typename R::backend>::copy(run.stream, kernel::Add<T>{.x = x, .y = Matrix<T>(y.data, x.rows, D)});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter*, S&, DY dy, DX dx) {
    using T = typename R::T;
    if (dx)
      kernel::add<typename R::backend>::copy(run.stream,
                                             kernel::Add<T>{.x = Matrix<const T>(dy.data, dx.rows, D), .y = dx});
  }
};

}  // namespace lamina
