#pragma once
#include <lamina/compose/chain.hpp>
#include <lamina/kernel/elementwise/add.hpp>

namespace lamina {

/// Several modules read the same x; their outputs are side by side in y: q, k and v, or gate and up.
template <class... L>
struct Fork {
  static constexpr std::size_t size = sizeof...(L);
  using composition = Fork;
  using children = List<L...>;
  template <class... C>
  using rebuild = Fork<C...>;
  template <std::size_t I>
  using part = at<children, I>;
  using In = typename part<0>::In;
  using Out = Shape<Dyn, (L::Out::width + ...)>;
  static_assert((std::same_as<In, typename L::In> && ...),
                "Fork: every branch reads the same input, so every In must be equal");
  static constexpr Traits traits{.learns = (learns<L> || ...)};

  template <std::size_t I, class Mode>
  using mode_of = part_mode<part<I>, Mode, false>;
  template <class Mode>
  static constexpr Saves saves{.input = (stays<L, part_mode<L, Mode, false>>.input || ...)};
  template <class Mode>
  using Saved = std::tuple<typename L::template Saved<part_mode<L, Mode, false>>...>;
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return (saved_row_bytes<L, part_mode<L, Mode, false>>() + ...);
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    for_constants<size>(
        [&](auto i) { allocate_saved<part<i>, part_mode<part<i>, Mode, false>>(std::get<i>(saved), arena, rows); });
  }

  template <std::size_t I>
  static constexpr int first_column = []<std::size_t... J>(std::index_sequence<J...>) {
    return (part<J>::Out::width + ... + 0);
  }
  (std::make_index_sequence<I>{});
  template <std::size_t I>
  static constexpr int first_tensor = []<std::size_t... J>(std::index_sequence<J...>) {
    return (tensor_count<part<J>> + ... + 0);
  }
  (std::make_index_sequence<I>{});

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    forward_from<0>(run, p, saved, x, y);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    Arena::Scope scope(*run.scratch);
    const Matrix<T> later = dx ? run.scratch->template matrix<T>(dx.rows, dx.cols) : Matrix<T>{};
    for_constants<size>([&](auto i) {
      using L_i = part<i>;
      using mode = part_mode<L_i, typename R::mode, false>;
      if constexpr (keeps<L_i, mode>) {
        const Matrix<T> to = i == 0 ? dx : later;
        L_i::backward(run.template as<mode>(), p + first_tensor<i>, std::get<i>(saved),
                      dy.columns(first_column<i>, L_i::Out::width), to);
        if (i > 0 && dx) kernel::add<typename R::backend>::forward(run.stream, kernel::Add<T>{.x = later, .y = dx});
      }
    });
  }

 private:
  template <std::size_t I, class R, class S, class X,
            class Y>  // a loop over lambdas would triple every error's context
  static void forward_from(R run, const Parameter* p, S& saved, X x, Y y) {
    using L_i = part<I>;
    L_i::forward(run.template as<part_mode<L_i, typename R::mode, false>>(), p + first_tensor<I>, std::get<I>(saved), x,
                 y.columns(first_column<I>, L_i::Out::width));
    if constexpr (I + 1 < size) forward_from<I + 1>(run, p, saved, x, y);
  }
};

}  // namespace lamina
