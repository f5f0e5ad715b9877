#pragma once
#include <lamina/compose/stack.hpp>
#include <lamina/compose/wrap/wrapper.hpp>
#include <lamina/kernel/rows/rows.hpp>

namespace lamina {

/// Layer numbers as a type.
template <int... I>
struct Indices {
  static constexpr int size = sizeof...(I);
  static constexpr std::array<int, sizeof...(I)> values{I...};
  static constexpr bool all_below(int limit) { return ((I >= 0 && I < limit) && ...); }
  /// Which place i has among them, -1 if none.
  static constexpr int find(int i) {
    for (int k = 0; k < size; ++k)
      if (values[static_cast<std::size_t>(k)] == i) return k;
    return -1;
  }
};

/// n modules of one type under "<tag>.<k>"; they do not run one after another.
template <class Tag, int n, class M>
struct Numbered {
  using composition = Numbered;
  using tag = Tag;
  using module = M;
  using children = List<M>;
  template <class C>
  using rebuild = Numbered<Tag, n, C>;
  static constexpr int repeats = n;
  static constexpr Traits traits{.learns = learns<M>};
};

namespace detail {
template <class At, int layers>
struct TapsCheck {
  static constexpr bool seen = true;
  static_assert(At::all_below(layers), "Tapped: names a layer that the stack does not have");
};
}  // namespace detail

/// A stack whose layers named in At are read by side modules of their own: tap k maps the output of layer At[k]. The
/// results leave through the context's taps; in backward their gradients come in the same way.
template <class At, class Stack_, class Mergers>
struct TappedBy {
  using composition = TappedBy;
  using children = List<Stack_, Mergers>;
  template <class S, class M>
  using rebuild = TappedBy<At, S, M>;
  using Tap = typename Mergers::module;
  using In = typename Stack_::In;
  using Out = typename Stack_::Out;
  static constexpr Traits traits{.learns = learns<Stack_> || learns<Mergers>};
  static constexpr auto taps_at = At::values;
  static_assert(Checked<detail::TapsCheck<At, detail::Innermost<Stack_>::type::repeats>>::seen);

  template <class Mode>
  using stack_mode = part_mode<Stack_, Mode, false>;
  template <class Mode>
  using tap_mode = part_mode<Tap, Mode, learns<Stack_>>;
  template <std::size_t I, class Mode>
  using mode_of = std::conditional_t<I == 0, stack_mode<Mode>, tap_mode<Mode>>;
  template <class Mode>
  static constexpr Saves saves{.input = stays<Stack_, stack_mode<Mode>>.input};

  template <class Mode>
  struct Saved {
    typename Stack_::template Saved<stack_mode<Mode>> stack;
    std::array<typename Tap::template Saved<tap_mode<Mode>>, At::size> taps;
  };
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return saved_row_bytes<Stack_, stack_mode<Mode>>() + At::size * saved_row_bytes<Tap, tap_mode<Mode>>();
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    allocate_saved<Stack_, stack_mode<Mode>>(saved.stack, arena, rows);
    for (auto& tap : saved.taps) allocate_saved<Tap, tap_mode<Mode>>(tap, arena, rows);
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    using mode = tap_mode<typename R::mode>;
    static_assert(!stays<Tap, mode>.input, "Tapped: a tap must not keep the stack's value: join its rows first");
    Stack_::forward(run.template as<stack_mode<typename R::mode>>(), p, saved.stack, x, y, [&](int i, Matrix<T> h) {
      const int k = At::find(i);
      if (k < 0) return;
      run.stream.enter(Mergers::tag::text);
      Tap::forward(run.template as<mode>(), taps(p) + k * tensor_count<Tap>, saved.taps[k], Matrix<const T>(h),
                   run.context->taps[k]);
      run.stream.leave();
    });
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using mode = tap_mode<typename R::mode>;
    Stack_::backward(run.template as<stack_mode<typename R::mode>>(), p, saved.stack, dy, dx, [&](int i, Matrix<T> dh) {
      const int k = At::find(i);
      if (k < 0) return;
      if constexpr (keeps<Tap, mode>) {
        Arena::Scope scope(*run.scratch);
        const Matrix<T> more = mode::dx ? run.scratch->template matrix<T>(dh.rows, dh.cols) : Matrix<T>{};
        run.stream.enter(Mergers::tag::text);
        Tap::backward(run.template as<mode>(), taps(p) + k * tensor_count<Tap>, saved.taps[k],
                      Matrix<const T>(run.context->taps[k]), more);
        run.stream.leave();
        run.gradients_final(taps(p) + k * tensor_count<Tap>, tensor_count<Tap>);
        if (more) kernel::add<typename R::backend>::forward(run.stream, kernel::Add<T>{.x = more, .y = dh});
      }
    });
  }

 private:
  static const Parameter* taps(const Parameter* p) { return p + tensor_count<Stack_>; }
};

/// Tapped<Indices<5, 11, 17>, Stack<...>, deepstack_merger_list, PatchMerger<...>>: names of the taps are "<tag>.<k>".
template <class At, class Stack_, class Tag, class Tap>
struct Tapped : TappedBy<At, Stack_, Numbered<Tag, At::size, Tap>> {};

}  // namespace lamina
