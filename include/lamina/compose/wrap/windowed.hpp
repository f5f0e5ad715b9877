#pragma once
#include <lamina/compose/chain.hpp>
#include <lamina/kernel/rows/rows.hpp>

namespace lamina {

/// Runs Body with the patches of each Cells x Cells window of merged cells side by side, and puts the merged rows that
/// come out back in their plain order. Attention in windows then is attention over short packed sequences.
/// source      Bai et al. 2025, arXiv:2502.13923, section 2.1
template <int Cells, class Body>
struct Windowed {
  using composition = Windowed;
  using children = List<Body>;
  template <class C>
  using rebuild = Windowed<Cells, C>;
  using In = typename Body::In;
  using Out = typename Body::Out;
  static constexpr int window_cells = Cells;
  static constexpr Traits traits{.learns = learns<Body>, .row_divisor = Body::traits.row_divisor};

  template <class Mode>
  static constexpr Saves saves{};
  template <std::size_t, class Mode>
  using mode_of = Mode;
  template <class Mode>
  struct Saved {
    typename Body::template Saved<Mode> body;
    Matrix<typename Mode::T> x;  ///< the permuted input, if the body keeps it
  };
  template <class Mode>
  static constexpr bool keeps_x = stays<Body, Mode>.input;
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return saved_row_bytes<Body, Mode>() + (keeps_x<Mode> ? sizeof(typename Mode::T) * In::width : 0);
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    allocate_saved<Body, Mode>(saved.body, arena, rows);
    if (keeps_x<Mode>) saved.x = arena.matrix<typename Mode::T>(rows, In::width);
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    using rows = kernel::rows<typename R::backend>;
    Arena::Scope scope(*run.scratch);
    constexpr bool kept = keeps_x<typename R::mode>;
    const Matrix<T> xw = kept ? saved.x : run.scratch->template matrix<T>(x.rows, In::width);
    const Matrix<T> yw = run.scratch->template matrix<T>(y.rows, Out::width);
    rows::gather(run.stream, x.rows, kernel::Rows<T>{.x = x, .index = run.context->order, .y = xw});
    Body::forward(run, p, saved.body, Matrix<const T>(xw), yw);
    rows::scatter(run.stream, y.rows, kernel::Rows<T>{.x = yw, .index = run.context->merged_order, .y = y});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using rows = kernel::rows<typename R::backend>;
    Arena::Scope scope(*run.scratch);
    const Matrix<T> dyw = run.scratch->template matrix<T>(dy.rows, Out::width);
    rows::gather(run.stream, dy.rows, kernel::Rows<T>{.x = dy, .index = run.context->merged_order, .y = dyw});
    const Matrix<T> dxw = dx ? run.scratch->template matrix<T>(dx.rows, In::width) : Matrix<T>{};
    Body::backward(run, p, saved.body, Matrix<const T>(dyw), dxw);
    if (dx) rows::scatter(run.stream, dx.rows, kernel::Rows<T>{.x = dxw, .index = run.context->order, .y = dx});
  }
};

}  // namespace lamina
