#pragma once
#include <lamina/compose/chain.hpp>
#include <lamina/kernel/elementwise/add.hpp>

namespace lamina {

namespace detail {
template <class Norm, class Body, class In, class Out>
struct ResidualWidth {
  static constexpr bool seen = true;
  static_assert(std::is_same_v<In, Out>, "Residual: the body must give back the width of its input");
};
}  // namespace detail

/// A pre-norm residual branch: y = x + Body(Norm(x)).
template <class Norm, class Body>
struct Residual {
  using composition = Residual;
  using children = List<Norm, Body>;
  template <class N, class B>
  using rebuild = Residual<N, B>;
  using Branch = Chain<Norm, Body>;
  using In = typename Branch::In;
  using Out = typename Branch::Out;
  static_assert(Checked<std::conditional_t<detail::misfit<In, Out, Branch>(),
                                           detail::ResidualWidth<detail::shown_t<Norm>, detail::shown_t<Body>, In, Out>,
                                           detail::Fine>>::seen);
  static constexpr bool meets = Branch::meets && std::is_same_v<In, Out>;
  static constexpr Traits traits{.learns = learns<Branch>};

  template <std::size_t I, class Mode>
  using mode_of = typename Branch::template mode_of<I, Mode>;
  template <class Mode>
  static constexpr Saves saves{.input = stays<Branch, Mode>.input};
  template <class Mode>
  using Saved = typename Branch::template Saved<Mode>;
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return saved_row_bytes<Branch, Mode>();
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    allocate_saved<Branch, Mode>(saved, arena, rows);
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    static_assert(!stays<Branch, typename R::mode>.output,
                  "Residual: the body's output is added to, so it cannot stay");
    Branch::forward(run, p, saved, x, y);
    kernel::add<typename R::backend>::forward(run.stream, kernel::Add<typename R::T>{.x = x, .y = y});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    Branch::backward(run, p, saved, dy, dx);
    if (dx) kernel::add<typename R::backend>::forward(run.stream, kernel::Add<typename R::T>{.x = dy, .y = dx});
  }
};

}  // namespace lamina
