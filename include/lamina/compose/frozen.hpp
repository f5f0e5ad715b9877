#pragma once
#include <lamina/compose/chain.hpp>

namespace lamina {

/// M without gradients of its own parameters. Backward still passes through if something below learns; if
/// nothing does, M runs as in inference and saves nothing. The type says it, so it costs nothing.
template <class M>
struct Frozen {
  using composition = Frozen;
  using children = List<M>;
  template <class C>
  using rebuild = Frozen<C>;
  static constexpr bool freezes = true;
  static constexpr bool learns = false;
  using In = typename M::In;
  using Out = typename M::Out;
  static constexpr int row_divisor = row_divisor_of<M>();
  static constexpr bool strided_y = lamina::strided_y<M>(), strided_dx = lamina::strided_dx<M>();

  template <std::size_t, class Mode>
  using mode_of = typename Mode::frozen;
  template <class Mode>
  using Saved = typename M::template Saved<typename Mode::frozen>;
  template <class Mode>
  static constexpr bool saves_input = Mode::dx&& M::template saves_input<typename Mode::frozen>;
  template <class Mode>
  static constexpr bool saves_output = output_stays<M, typename Mode::frozen>();
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return saved_row_bytes<M, typename Mode::frozen>();
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    allocate_saved<M, typename Mode::frozen>(saved, arena, rows);
  }
  template <class R, class S, class X, class Y, class... Hook>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y, Hook... hook) {
    M::forward(run.template as<typename R::mode::frozen>(), p, saved, x, y, hook...);
  }
  template <class R, class S, class DY, class DX, class... Hook>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx, Hook... hook) {
    if (dx) M::backward(run.template as<typename R::mode::frozen>(), p, saved, dy, dx, hook...);
  }
};

namespace detail {
/// A layer without the names around it and without Frozen.
template <class M>
struct Innermost {
  using type = M;
};
template <class Tag, class M>
struct Innermost<Named<Tag, M>> : Innermost<M> {};
template <class M>
struct Innermost<Frozen<M>> : Innermost<M> {};

}  // namespace detail
}  // namespace lamina
