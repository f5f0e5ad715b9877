#pragma once
#include <lamina/core/run.hpp>

namespace lamina {

/// The base of types around one module M. It has all that a module must have, forwarded from M, so a wrapper writes
/// only what it changes, `composition` and `rebuild`:
///
///     template <class M>
///     struct Twice : Wrapper<M> {
///       using composition = Twice;
///       template <class C> using rebuild = Twice<C>;
///       ...
///     };
///
/// InMode   is the mode in which M runs, from the mode of the wrapper
template <Module M, template <class> class InMode = std::type_identity_t>
struct Wrapper {
  using module = M;
  using children = List<M>;
  using In = typename M::In;
  using Out = typename M::Out;
  static constexpr Traits traits = forwarded<M>;

  template <std::size_t, class Mode>
  using mode_of = InMode<Mode>;
  template <class Mode>
  using Saved = typename M::template Saved<InMode<Mode>>;
  template <class Mode>
  static constexpr Saves saves = stays<M, InMode<Mode>>;
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return saved_row_bytes<M, InMode<Mode>>();
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    allocate_saved<M, InMode<Mode>>(saved, arena, rows);
  }

  /// hook: of a Stack.
  template <class R, class S, class X, class Y, class... Hook>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y, Hook... hook) {
    M::forward(inside(run), p, saved, x, y, hook...);
  }
  template <class R, class S, class DY, class DX, class... Hook>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx, Hook... hook) {
    M::backward(inside(run), p, saved, dy, dx, hook...);
  }
  /// Of Traits::adds.
  template <class R, class S, class X, class Y>
  static void forward_add(R run, const Parameter* p, S& saved, X x, Y y) {
    M::forward_add(inside(run), p, saved, x, y);
  }
  /// Of Traits::over_ranks.
  template <class R, class S, class X, class Y>
  static void forward_part(R run, const Parameter* p, S& saved, X x, Y y) {
    M::forward_part(inside(run), p, saved, x, y);
  }
  /// Of Traits::sums. over_ranks: OverRanks, if s is first summed over ranks.
  template <class R, class S, class X, class Y, class... Over>
  static void forward_sum(R run, const Parameter* p, S& saved, X x, Y s, Y y, Over... over_ranks) {
    M::forward_sum(inside(run), p, saved, x, s, y, over_ranks...);
  }
  template <class R, class S, class DY, class DX>
  static void backward_sum(R run, const Parameter* p, S& saved, DY dy, DY residual, DX dx) {
    M::backward_sum(inside(run), p, saved, dy, residual, dx);
  }
  /// Of Traits::saves_input_alone.
  template <class S, class X>
  static void save_input(S& saved, X x) {
    M::save_input(saved, x);
  }

 protected:
  template <class R>
  static auto inside(R run) {
    return run.template as<InMode<typename R::mode>>();
  }
};

namespace detail {
/// A layer without the transparent wrappers around it.
template <class M>
struct Innermost {
  using type = M;
};
template <class M>
requires(M::traits.transparent) struct Innermost<M> : Innermost<typename M::module> {
};
}  // namespace detail

/// The power of two that M's matrices are multiplied by in memory, by transparent wrappers around them.
template <class M>
inline constexpr int matrix_exponent_of = [] {
  if constexpr (M::traits.transparent)
    return M::traits.matrix_exponent + matrix_exponent_of<typename M::module>;
  else
    return M::traits.matrix_exponent;
}();

}  // namespace lamina
