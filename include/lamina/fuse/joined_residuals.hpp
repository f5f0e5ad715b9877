#pragma once
#include <lamina/compose/residual.hpp>

namespace lamina {

/// Two residual branches, one after the other. The first branch's addition runs with the second's norm, and in backward
/// each norm adds what goes past it: two passes over the residual stream less forward, two less backward.
///
///     s = x + Body1(Norm1(x)),   y = s + Body2(Norm2(s))
///
/// If s need not stay until backward and the second body can add to its output, s is made where y will be. If the first
/// body's output is a sum over ranks, that too is the norm's.
///
/// backward    saves what Chain<First, Second> saves
template <class First, class Second>
struct JoinedResiduals;
template <class N1, class B1, class N2, class B2>
struct JoinedResiduals<Residual<N1, B1>, Residual<N2, B2>> : Chain<Residual<N1, B1>, Residual<N2, B2>> {
  using Whole = Chain<Residual<N1, B1>, Residual<N2, B2>>;
  using composition = JoinedResiduals;
  template <class A, class B>
  using rebuild = JoinedResiduals<A, B>;
  using typename Whole::In;

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    using first_mode = typename Whole::template mode_of<0, typename R::mode>;
    using second_mode = typename Whole::template mode_of<1, typename R::mode>;
    using Branch = Chain<N2, B2>;
    Arena::Scope scope(*run.scratch);
    const auto take = [&] { return run.scratch->template matrix<T>(x.rows, In::width); };
    constexpr bool kept = Whole::template keeps_after<0, typename R::mode>, in_place = !kept && adds<B2>;
    const Matrix<T> s = kept ? saved.after[0] : in_place ? Matrix<T>(y) : take();
    constexpr bool over_ranks = B1::traits.over_ranks;
    if constexpr (over_ranks)
      Chain<N1, B1>::forward_part(run.template as<first_mode>(), p, std::get<0>(saved.parts), x, s);
    else
      Chain<N1, B1>::forward(run.template as<first_mode>(), p, std::get<0>(saved.parts), x, s);

    const Parameter* p2 = p + tensor_count<Residual<N1, B1>>;
    auto& branch = std::get<1>(saved.parts);
    const Matrix<T> h = Branch::template keeps_after<0, second_mode>
                            ? branch.after[0]
                            : run.scratch->template matrix<T>(x.rows, In::width, tail_between<N2, B2>);
    const auto norm_run = run.template as<typename Branch::template mode_of<0, second_mode>>();
    if constexpr (over_ranks)
      N2::forward_sum(norm_run, p2, std::get<0>(branch.parts), Matrix<const T>(x), s, h, OverRanks{});
    else
      N2::forward_sum(norm_run, p2, std::get<0>(branch.parts), Matrix<const T>(x), s, h);
    const auto body_run = run.template as<typename Branch::template mode_of<1, second_mode>>();
    const Parameter* const body = p2 + tensor_count<N2>;
    if constexpr (in_place) {
      B2::forward_add(body_run, body, std::get<1>(branch.parts), Matrix<const T>(h), y);
    } else {
      B2::forward(body_run, body, std::get<1>(branch.parts), Matrix<const T>(h), y);
      kernel::add<typename R::backend>::forward(run.stream, kernel::Add<T>{.x = s, .y = y});
    }
  }

  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using first_mode = typename Whole::template mode_of<0, typename R::mode>;
    using second_mode = typename Whole::template mode_of<1, typename R::mode>;
    Arena::Scope scope(*run.scratch);
    Matrix<T> ds;
    if (second_mode::dx && (dx || learns<Residual<N1, B1>>)) ds = run.scratch->template matrix<T>(dy.rows, In::width);
    branch_backward<N2, B2>(run.template as<second_mode>(), p + tensor_count<Residual<N1, B1>>,
                            std::get<1>(saved.parts), Matrix<const T>(dy), ds);
    if constexpr (second_mode::dx)
      if (ds)
        branch_backward<N1, B1>(run.template as<first_mode>(), p, std::get<0>(saved.parts), Matrix<const T>(ds),
                                Matrix<T>(dx));
  }

 private:
  /// dx = dy + (gradient through Body and Norm), for as far down as something learns.
  template <class N, class B, class R, class S, class T>
  static void branch_backward(R run, const Parameter* p, S& saved, Matrix<const T> dy, Matrix<T> dx) {
    using body_mode = typename Chain<N, B>::template mode_of<1, typename R::mode>;
    using norm_mode = typename Chain<N, B>::template mode_of<0, typename R::mode>;
    if constexpr (keeps<B, body_mode>) {
      Arena::Scope scope(*run.scratch);
      Matrix<T> dh;
      if (body_mode::dx && (dx || learns<N>)) dh = run.scratch->template matrix<T>(dy.rows, In::width);
      B::backward(run.template as<body_mode>(), p + tensor_count<N>, std::get<1>(saved.parts), dy, dh);
      if constexpr (keeps<N, norm_mode>) {
        if (!dh) return;
        N::backward_sum(run.template as<norm_mode>(), p, std::get<0>(saved.parts), Matrix<const T>(dh), dy, dx);
      }
    }
  }
};

namespace detail {
template <class M>
struct JoinNeighbours {
  static constexpr bool applies = false;
};
template <class N1, class B1, class N2, class B2>
struct JoinNeighbours<Chain<Residual<N1, B1>, Residual<N2, B2>>> {
  static constexpr bool applies = N1::traits.sums && N2::traits.sums;
  using type = JoinedResiduals<Residual<N1, B1>, Residual<N2, B2>>;
};
}  // namespace detail

/// Fusion rule: a decoder layer's two residual branches become JoinedResiduals.
struct JoinResiduals {
  template <class M, class Path>
  static constexpr bool applies = detail::JoinNeighbours<M>::applies;
  template <class M, class Path>
  using apply = typename detail::JoinNeighbours<M>::type;
};

}  // namespace lamina
