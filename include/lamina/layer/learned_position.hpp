#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/elementwise/add.hpp>
#include <lamina/kernel/rows/rows.hpp>

namespace lamina {

/// Adds a learned position to each patch, read bilinearly from a square table: y[p] = x[p] + sum_k w[p,k] E[row[p,k]].
///
/// shapes      x, y: (P, D);  E: (Rows, D), Rows a square;  row, w: (P, 4) from the batch's tables
/// numerics    weights and sum in fp32, one rounding
/// checkpoint  "<path>.weight"
template <int Rows, int D>
struct LearnedPosition {
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<Param<name::weight, Shape<Rows, D>, init::normal>>;
  static constexpr Traits traits{.learns = true, .table = true};
  static constexpr int table_rows = Rows;
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  struct Saved {};

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S&, X x, Y y) {
    kernel::learned_position<typename R::backend>::forward(
        run.stream, kernel::LearnedPositionFwd<typename R::T>{.x = x,
                                                              .w = p[0].value,
                                                              .row = run.context->position_rows,
                                                              .weight = run.context->position_weights,
                                                              .y = y});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S&, DY dy, DX dx) {
    using T = typename R::T;
    if constexpr (R::mode::train)
      if (p[0].grad)
        kernel::learned_position<typename R::backend>::backward(
            run.stream, kernel::LearnedPositionBwd<T>{.dy = dy,
                                                      .row = run.context->position_rows,
                                                      .weight = run.context->position_weights,
                                                      .dw = p[0].matrix_grad()});
    if (dx) kernel::add<typename R::backend>::copy(run.stream, kernel::Add<T>{.x = dy, .y = dx});
  }
};

}  // namespace lamina
