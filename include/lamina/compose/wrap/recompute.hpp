#pragma once
#include <lamina/compose/layers.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/compose/wrap/wrapper.hpp>

namespace lamina {
namespace detail {
template <class Mode>
using InferenceMode = typename Mode::inference;
}

/// L with only its input saved: backward runs L forward again. Trades one more forward for the memory of what L saves.
template <class L>
struct Recompute : Wrapper<L, detail::InferenceMode> {
  using composition = Recompute;
  template <class C>
  using rebuild = Recompute<C>;
  static constexpr Traits traits = [] {
    Traits t = forwarded<L>;
    t.sums = t.adds = t.over_ranks = false, t.saves_input_alone = true;
    return t;
  }();

  template <class Mode>
  using Saved = SavedInput<Mode>;
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return 0;
  }
  template <class Mode>
  static void allocate(Saved<Mode>&, Arena&, int) {}
  template <class S, class X>
  static void save_input(S& saved, X x) {
    saved.x = x;
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    saved.x = x;
    typename L::template Saved<typename R::mode::inference> nothing{};
    L::forward(run.template as<typename R::mode::inference>(), p, nothing, x, y);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    Arena::Scope scope(*run.scratch);
    typename L::template Saved<typename R::mode> again{};
    allocate_saved<L, typename R::mode>(again, *run.scratch, saved.x.rows);
    const Matrix<T> y = run.scratch->template matrix<T>(dy.rows, L::Out::width);
    L::forward(run, p, again, saved.x, y);
    L::backward(run, p, again, dy, dx);
  }
};

namespace detail {
template <class M>
struct RecomputeLayers {
  static constexpr bool applies = false;
};
template <class Tag, int n, class L>
struct RecomputeLayers<Stack<Tag, n, L>> {
  static constexpr bool applies = true;
  using type = Stack<Tag, n, Recompute<L>>;
};
template <class Tag, class Order, class... L>
struct RecomputeLayers<MixedStack<Tag, Order, L...>> {
  static constexpr bool applies = true;
  using type = MixedStack<Tag, Order, Recompute<L>...>;
};
template <class Tag>
struct RecomputeRule {
  template <class M, class Path>
  static constexpr bool applies = RecomputeLayers<without_name_t<M>>::applies&& path_has<Path, Tag>;
  template <class M, class Path>
  using apply = typename RecomputeLayers<without_name_t<M>>::type;
};
}  // namespace detail

/// M with every layer of the stacks under a name recomputed: RecomputeUnder<Qwen3VL_2B, language_model>. Tensors, their
/// order and results are M's.
template <class M, class Tag>
struct RecomputeUnder : rewrite_t<M, detail::RecomputeRule<Tag>> {};

}  // namespace lamina
