#pragma once
#include <tuple>

#include <lamina/compose/stack.hpp>

namespace lamina {

/// The kinds of the layers of a stack, by number: 3 layers of kind 0 and one of kind 1 are KindsInOrder<0, 0, 0, 1>.
template <int... Kinds>
struct KindsInOrder {
  static constexpr int size = sizeof...(Kinds);
  static constexpr int of(int layer) { return std::array{Kinds...}[static_cast<std::size_t>(layer)]; }
};
/// n layers whose kinds are Kinds over and over again.
template <int n, int... Kinds>
struct KindsInTurns {
  static_assert(n > 0, "Repeating<tag, n, layers...>: n is a number of layers, so it must be positive");
  static constexpr int size = n;
  static constexpr int of(int layer) {
    return std::array{Kinds...}[static_cast<std::size_t>(layer) % sizeof...(Kinds)];
  }
};

namespace detail {
/// What layers of one stack must agree on.
template <class First, class Other>
struct SameStream {
  static constexpr bool seen = true;
  static_assert(std::is_same_v<typename First::Out, typename First::In> &&
                    std::is_same_v<typename Other::In, typename First::In> &&
                    std::is_same_v<typename Other::Out, typename First::In>,
                "Layers: every layer must take and give back rows of one width; SameStream<first, other> names two");
};
template <class First, class Other>
using same_stream_t = std::conditional_t<fits<First>() && fits<Other>(), SameStream<First, Other>, Fine>;
}  // namespace detail

/// Layers of several kinds under "<tag>.<i>", one after another: a Stack whose layer i is kind Order::of(i) of Kinds.
/// Written as Layers<...> or Repeating<...>. Hooks are Stack's.
template <class Tag, class Order, class... Kinds>
struct MixedStack {
  using composition = MixedStack;
  using tag = Tag;
  using children = List<Kinds...>;
  template <class... C>
  using rebuild = MixedStack<Tag, Order, C...>;
  template <std::size_t K>
  using kind = at<children, K>;
  static constexpr int repeats = Order::size;
  static constexpr std::size_t kinds = sizeof...(Kinds);
  using In = typename kind<0>::In;
  using Out = typename kind<0>::Out;
  static_assert((Checked<detail::same_stream_t<kind<0>, Kinds>>::seen && ...));
  static constexpr Traits traits{.learns = (learns<Kinds> || ...)};

  static constexpr int kind_of(int layer) { return Order::of(layer); }
  /// How many of the layers before `layer` are of a kind; of all layers.
  static constexpr int count_before(int kind, int layer) {
    int count = 0;
    for (int i = 0; i < layer; ++i) count += kind_of(i) == kind;
    return count;
  }
  static constexpr int count(int kind) { return count_before(kind, repeats); }
  /// Tensors before those of a layer.
  static constexpr int first_tensor(int layer) {
    int first = 0, k = 0;
    ((first += count_before(k++, layer) * tensor_count<Kinds>), ...);
    return first;
  }

  template <class L, class Mode>
  using layer_mode = part_mode<L, Mode, traits.learns>;
  template <std::size_t K, class Mode>
  using mode_of = layer_mode<kind<K>, Mode>;
  template <class Mode>
  static constexpr Saves saves{.input = (stays<Kinds, layer_mode<Kinds, Mode>>.input || ...)};

  template <class Mode, class Indices = std::make_index_sequence<kinds>>
  struct SavedLayers;
  template <class Mode, std::size_t... K>
  struct SavedLayers<Mode, std::index_sequence<K...>> {
    std::tuple<std::array<typename kind<K>::template Saved<mode_of<K, Mode>>, count(K)>...> layers;
    std::array<Matrix<typename Mode::T>, repeats> after{};  ///< kept outputs of all layers but the last
  };
  template <class Mode>
  using Saved = SavedLayers<Mode>;
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    std::size_t bytes = saves<Mode>.input ? sizeof(typename Mode::T) * Out::width * (repeats - 1) : 0;
    for_constants<kinds>([&](auto k) { bytes += count(k) * saved_row_bytes<kind<k>, mode_of<k, Mode>>(); });
    return bytes;
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    for (int i = 0; i < repeats; ++i) {
      at_layer(i, [&](auto k, int place) {
        allocate_saved<kind<k>, mode_of<k, Mode>>(std::get<k>(saved.layers)[place], arena, rows);
      });
      if (saves<Mode>.input && i + 1 < repeats) saved.after[i] = arena.matrix<typename Mode::T>(rows, Out::width);
    }
  }

  template <class R, class S, class X, class Y, class Hook = NoHook>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y, Hook hook = {}) {
    using T = typename R::T;
    using mode = typename R::mode;
    Arena::Scope scope(*run.scratch);
    constexpr bool kept = saves<mode>.input;
    std::array<Matrix<T>, 2> spare{};
    if (!kept && repeats > 1)
      for (auto& s : spare) s = run.scratch->template matrix<T>(x.rows, Out::width);
    Matrix<const T> in = x;
    for (int i = 0; i < repeats; ++i) {
      const Matrix<T> out = i + 1 == repeats ? y : kept ? saved.after[i] : spare[i % 2];
      at_layer(i, [&](auto k, int place) {
        const InLayer inside(run, i, k);
        kind<k>::forward(run.template as<mode_of<k, mode>>(), p + first_tensor(i), std::get<k>(saved.layers)[place], in,
                         out);
      });
      hook(i, out);
      in = out;
    }
  }
  template <class R, class S, class DY, class DX, class Hook = NoHook>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx, Hook hook = {}) {
    using T = typename R::T;
    using mode = typename R::mode;
    Arena::Scope scope(*run.scratch);
    std::array<Matrix<T>, 2> spare{};
    for (auto& s : spare) s = run.scratch->template matrix<T>(dy.rows, Out::width);
    Matrix<T> grad = spare[1];
    kernel::add<typename R::backend>::copy(run.stream, kernel::Add<T>{.x = dy, .y = grad});
    for (int i = repeats - 1; i >= 0; --i) {
      hook(i, grad);
      const Matrix<T> below = i == 0 ? Matrix<T>(dx) : spare[(repeats - 1 - i) % 2];
      at_layer(i, [&](auto k, int place) {
        const InLayer inside(run, i, k);
        kind<k>::backward(run.template as<mode_of<k, mode>>(), p + first_tensor(i), std::get<k>(saved.layers)[place],
                          Matrix<const T>(grad), below);
        run.gradients_final(p + first_tensor(i), tensor_count<kind<k>>);
      });
      grad = below;
    }
  }

  /// The part of a plan's path that tells the layers of a kind from others.
  static constexpr std::string_view kind_text(std::size_t kind) { return std::string_view("abcdefgh").substr(kind, 1); }

 private:
  static_assert(kinds <= 8, "Layers: a stack has at most 8 kinds of layers");

  /// Calls f(k, place) for the kind k of a layer, of which it is number `place`.
  template <class F>
  static void at_layer(int layer, F&& f) {
    for_constants<kinds>([&](auto k) {
      if (kind_of(layer) == static_cast<int>(k)) f(k, count_before(k, layer));
    });
  }
  template <class R>
  struct InLayer {
    InLayer(R run, int layer, std::size_t kind) : stack(run.stream, Tag::text), own(run.stream, kind_text(kind)) {
      run.context->layer = layer;
    }
    InModule<decltype(R::stream)> stack, own;
  };
};

namespace detail {
template <class T, class... L>
inline constexpr int place_among = [] {
  int at = 0, found = -1;
  ((found = found < 0 && std::is_same_v<T, L> ? at : found, ++at), ...);
  return found;
}();
/// The types of a list, each once, in the order of their first places.
template <class Found, class... L>
struct Distinct {
  using type = Found;
};
template <class... Found, class First, class... Rest>
struct Distinct<List<Found...>, First, Rest...>
    : std::conditional_t<list_has<List<Found...>, First>, Distinct<List<Found...>, Rest...>,
                         Distinct<List<Found..., First>, Rest...>> {};
/// A stack of the distinct kinds among L. Order: of their numbers, KindsInOrder or KindsInTurns of a length.
template <class Tag, class Kinds, template <int...> class Order, class... L>
struct MixedOf;
template <class Tag, class... Kinds, template <int...> class Order, class... L>
struct MixedOf<Tag, List<Kinds...>, Order, L...> {
  using type = MixedStack<Tag, Order<place_among<L, Kinds...>...>, Kinds...>;
};
template <int n>
struct InTurns {
  template <int... Kinds>
  using order = KindsInTurns<n, Kinds...>;
};
}  // namespace detail

/// The layers L one after another under "<tag>.<i>": Layers<layers, Local, Local, Global>. Layers of one type cost no
/// more to compile than one; if all are, it is Stack.
template <class Tag, class... L>
struct Layers : detail::MixedOf<Tag, typename detail::Distinct<List<>, L...>::type, KindsInOrder, L...>::type {};

/// n layers of the kinds L over and over again: Repeating<layers, 36, Local, Local, Local, Global>.
template <class Tag, int n, class... L>
struct Repeating : detail::MixedOf<Tag, typename detail::Distinct<List<>, L...>::type,
                                   detail::InTurns<n>::template order, L...>::type {};

}  // namespace lamina
