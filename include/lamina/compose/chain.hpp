#pragma once
#include <initializer_list>
#include <tuple>

#include <lamina/compose/wrap/named.hpp>
#include <lamina/core/tensor/tensors.hpp>

namespace lamina {

namespace detail {

/// How an error shows a module: by its name if it has one. Adapted, frozen and fused forms of a model then make the
/// same mistake, which is reported once.
template <class M>
struct ShownAs {
  using type = M;
};
template <class M>
requires requires { typename M::tag; }
struct ShownAs<M> {
  using type = typename M::tag;
};
template <class M>
using shown_t = typename ShownAs<M>::type;

/// Whether all widths below M meet. A misfit makes others around it, and only the innermost is the user's: this is
/// asked where widths do not meet, and nowhere else. A composition that joins widths says `meets`.
template <class M>
constexpr bool fits();
template <class... C>
constexpr bool all_fit(List<C...>) {
  return (fits<C>() && ...);
}
template <class M>
constexpr bool fits() {
  if constexpr (requires { M::meets; }) {
    if (!M::meets) return false;
  }
  if constexpr (HasChildren<M>)
    return all_fit(typename M::children{});
  else
    return true;
}
/// Whether two widths differ although all of M does fit, so that the difference is the mistake.
template <class Out, class In, class... M>
constexpr bool misfit() {
  if constexpr (std::is_same_v<Out, In>)
    return false;
  else
    return (fits<M>() && ...);
}
/// An assertion that is not asked.
struct Fine {
  static constexpr bool seen = true;
};

}  // namespace detail

/// What two neighbours in a Chain must agree on.
template <class First, class Second, class Out, class In>
struct Junction {  // has a name, so that compilers print both layers and both widths
  static constexpr bool seen = true;
  static_assert(
      std::is_same_v<Out, In>,
      "Chain: the first layer's Out is not the second layer's In; Junction<first, second, Out, In> names both");
};
template <class Prev, class Next>
using junction_t =
    std::conditional_t<detail::misfit<typename Prev::Out, typename Next::In, Prev, Next>(),
                       Junction<detail::shown_t<Prev>, detail::shown_t<Next>, typename Prev::Out, typename Next::In>,
                       detail::Fine>;

/// Every junction of a Chain, looked at but not asked, so that a misfit is one error and not one for each user of it.
template <class Layers, class Indices>
struct Junctions;
template <class Layers, std::size_t... I>
struct Junctions<Layers, std::index_sequence<I...>> {
  static constexpr bool seen = true;
  static constexpr bool meet =
      (std::is_same_v<typename at<Layers, I>::Out, typename at<Layers, I + 1>::In> && ... && true);
  using all = List<std::bool_constant<junction_t<at<Layers, I>, at<Layers, I + 1>>::seen>...>;
};

/// Whether no part but the last one has rows of its own, and none before that joins rows.
constexpr bool rows_fit(std::initializer_list<Traits> parts) {
  bool own = false, joined = false;
  for (const Traits& part : parts) {
    if (own || (joined && part.rows_per_sequence > 0)) return false;
    own = part.rows_per_sequence > 0, joined = joined || part.row_divisor > 1;
  }
  return true;
}
/// Only the last part may have rows of its own: what is kept between parts, and its gradient, is counted by input rows.
template <class... L>
struct RowsCheck {
  static constexpr bool seen = true;
  static constexpr bool holds = rows_fit({L::traits...});
  static_assert(holds,
                "Chain: a part with rows of its own (Cross) must be the last one, and no part before it may join rows: "
                "what follows it goes into Cross, behind its keys");
};

/// Layers one after another: y = L_n(...L_2(L_1(x))). A value between two layers stays only if the later one asks for
/// its input in backward; backward stops if nothing below can learn. Both are known at compile time.
template <class... L>
struct Chain {
  static constexpr std::size_t size = sizeof...(L);
  using composition = Chain;
  using children = List<L...>;
  template <class... C>
  using rebuild = Chain<C...>;
  template <std::size_t I>
  using part = at<children, I>;
  using In = typename part<0>::In;
  using Out = typename part<size - 1>::Out;
  static_assert(Junctions<children, std::make_index_sequence<size - 1>>::seen);
  static constexpr bool meets = Junctions<children, std::make_index_sequence<size - 1>>::meet;
  static_assert(Checked<RowsCheck<L...>>::seen);
  static constexpr Traits traits{.learns = (learns<L> || ...),
                                 .row_divisor = (L::traits.row_divisor * ...),
                                 .rows_per_sequence = part<size - 1>::traits.rows_per_sequence,
                                 .input_tail = part<0>::traits.input_tail,
                                 .gradient_tail = part<size - 1>::traits.gradient_tail,
                                 .strided_y = part<size - 1>::traits.strided_y,
                                 .strided_dx = part<0>::traits.strided_dx,
                                 .adds = adds<part<size - 1>>,
                                 .over_ranks = part<size - 1>::traits.over_ranks};

  /// Whether a part before I learns.
  template <std::size_t I>
  static constexpr bool learns_before() {
    return [&]<std::size_t... J>(std::index_sequence<J...>) { return (learns<part<J>> || ... || false); }
    (std::make_index_sequence<I>{});
  }
  template <std::size_t I, class Mode>
  using mode_of = part_mode<part<I>, Mode, learns_before<I>()>;
  /// Whether the value between part I and part I + 1 must stay until backward.
  template <std::size_t I, class Mode>
  static constexpr bool keeps_after =
      stays<part<I>, mode_of<I, Mode>>.output || stays<part<I + 1>, mode_of<I + 1, Mode>>.input;

  template <class Mode>
  static constexpr Saves saves{.input = stays<part<0>, mode_of<0, Mode>>.input,
                               .output = stays<part<size - 1>, mode_of<size - 1, Mode>>.output};

  template <class Mode, class Indices = std::make_index_sequence<size>>
  struct SavedParts;
  template <class Mode, std::size_t... I>
  struct SavedParts<Mode, std::index_sequence<I...>> {
    std::tuple<typename part<I>::template Saved<mode_of<I, Mode>>...> parts;
    std::array<Matrix<typename Mode::T>, size> after{};  ///< kept values between parts
    int rows = 0;                                        ///< of the input
  };
  template <class Mode>
  using Saved = SavedParts<Mode>;

  template <class Mode>
  static constexpr std::size_t row_bytes() {
    std::size_t bytes = 0, divisor = 1;
    for_constants<size>([&](auto i) {
      bytes += saved_row_bytes<part<i>, mode_of<i, Mode>>() / divisor;
      divisor *= part<i>::traits.row_divisor;
      if constexpr (i + 1 < size)
        if constexpr (keeps_after<i, Mode>)
          bytes += sizeof(typename Mode::T) * (part<i>::Out::width + tail_between<part<i>, part<i + 1>>) / divisor;
    });
    return bytes;
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    for_constants<size>([&](auto i) {
      allocate_saved<part<i>, mode_of<i, Mode>>(std::get<i>(saved.parts), arena, rows);
      rows /= part<i>::traits.row_divisor;
      if constexpr (i + 1 < size)
        if constexpr (keeps_after<i, Mode>)
          saved.after[i] =
              arena.matrix<typename Mode::T>(rows, part<i>::Out::width, tail_between<part<i>, part<i + 1>>);
    });
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    Arena::Scope scope(*run.scratch);
    forward_from<0, Ending::written>(run, p, saved, x, y);
  }
  template <class R, class S, class X, class Y>
  static void forward_add(R run, const Parameter* p, S& saved, X x, Y y) {
    Arena::Scope scope(*run.scratch);
    forward_from<0, Ending::added>(run, p, saved, x, y);
  }
  template <class R, class S, class X, class Y>
  static void forward_part(R run, const Parameter* p, S& saved, X x, Y y) {
    Arena::Scope scope(*run.scratch);
    forward_from<0, Ending::part>(run, p, saved, x, y);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    Arena::Scope scope(*run.scratch);
    backward_from<size - 1>(run, p, saved, dy, dx);
  }

 private:
  /// What becomes of the last part's output: forward, forward_add, forward_part.
  enum class Ending { written, added, part };

  template <std::size_t I>
  static constexpr int first_tensor = []<std::size_t... J>(std::index_sequence<J...>) {
    return (tensor_count<part<J>> + ... + 0);
  }
  (std::make_index_sequence<I>{});

  template <std::size_t I, Ending End, class R, class S, class X, class Y>
  static void forward_from(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    const auto part_run = run.template as<mode_of<I, typename R::mode>>();
    auto& part_saved = std::get<I>(saved.parts);
    if constexpr (I == 0) saved.rows = x.rows;
    if constexpr (I + 1 == size && End == Ending::added) {
      part<I>::forward_add(part_run, p + first_tensor<I>, part_saved, x, y);
    } else if constexpr (I + 1 == size && End == Ending::part) {
      part<I>::forward_part(part_run, p + first_tensor<I>, part_saved, x, y);
    } else if constexpr (I + 1 == size) {
      part<I>::forward(part_run, p + first_tensor<I>, part_saved, x, y);
    } else {
      Matrix<T> h;
      if constexpr (keeps_after<I, typename R::mode>)
        h = saved.after[I];
      else
        h = run.scratch->template matrix<T>(x.rows / part<I>::traits.row_divisor, part<I>::Out::width,
                                            tail_between<part<I>, part<I + 1>>);
      part<I>::forward(part_run, p + first_tensor<I>, part_saved, x, h);
      forward_from<I + 1, End>(run, p, saved, Matrix<const T>(h), y);
    }
  }
  template <std::size_t I, class R, class S, class DY, class DX>
  static void backward_from(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using part_mode_t = mode_of<I, typename R::mode>;
    if constexpr (keeps<part<I>, part_mode_t>) {
      const auto part_run = run.template as<part_mode_t>();
      if constexpr (I == 0) {
        part<I>::backward(part_run, p, std::get<I>(saved.parts), dy, dx);
      } else {
        Matrix<T> dh;
        if constexpr (part_mode_t::dx) {
          const bool own = part<I>::traits.rows_per_sequence > 0;
          if (dx || learns_before<I>())
            dh = run.scratch->template matrix<T>(own ? saved.rows : dy.rows * part<I>::traits.row_divisor,
                                                 part<I>::In::width, gradient_tail_between<part<I - 1>, part<I>>);
        }
        part<I>::backward(part_run, p + first_tensor<I>, std::get<I>(saved.parts), dy, dh);
        run.gradients_final(p + first_tensor<I>, tensor_count<part<I>>);
        if (dh) backward_from<I - 1>(run, p, saved, Matrix<const T>(dh), dx);
      }
    }
  }
};

}  // namespace lamina
