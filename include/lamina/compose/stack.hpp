#pragma once
#include <lamina/compose/chain.hpp>
#include <lamina/kernel/elementwise/add.hpp>

namespace lamina {

/// Nothing happens between the layers of a stack.
struct NoHook {
  void operator()(int, auto) const {}
};

namespace detail {
template <class Tag, class In, class Out>
struct StackWidth {
  static constexpr bool seen = true;
  static_assert(std::is_same_v<In, Out>, "Stack: a layer must give back the width of its input");
};
}  // namespace detail

/// The same layer n times under "<tag>.<i>". A hook is called with (i, y) after layer i runs forward, and with (i, dy)
/// before it runs backward: that is how deepstack maps leave a vision tower and enter a decoder.
template <class Tag, int n, class L>
struct Stack {
  static_assert(n > 0, "Stack<tag, n, layer>: n is a number of layers, so it must be positive");
  using composition = Stack;
  using tag = Tag;
  using children = List<L>;
  template <class C>
  using rebuild = Stack<Tag, n, C>;
  static constexpr int repeats = n;
  using In = typename L::In;
  using Out = typename L::Out;
  static_assert(
      Checked<std::conditional_t<detail::misfit<In, Out, L>(), detail::StackWidth<Tag, In, Out>, detail::Fine>>::seen);
  static constexpr bool meets = std::is_same_v<In, Out>;
  static constexpr Traits traits{.learns = learns<L>};

  template <class Mode>
  using layer_mode = part_mode<L, Mode, learns<L>>;  ///< one mode for all: the first layer's dx is null if unwanted
  template <std::size_t, class Mode>
  using mode_of = layer_mode<Mode>;
  template <class Mode>
  static constexpr Saves saves{.input = stays<L, layer_mode<Mode>>.input};

  template <class Mode>
  struct Saved {
    std::array<typename L::template Saved<layer_mode<Mode>>, n> layers;
    std::array<Matrix<typename Mode::T>, n> after{};  ///< kept outputs of all layers but the last
  };
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    const std::size_t between = saves<Mode>.input ? sizeof(typename Mode::T) * Out::width * (n - 1) : 0;
    return n * saved_row_bytes<L, layer_mode<Mode>>() + between;
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    for (int i = 0; i < n; ++i) {
      allocate_saved<L, layer_mode<Mode>>(saved.layers[i], arena, rows);
      if (saves<Mode>.input && i + 1 < n) saved.after[i] = arena.matrix<typename Mode::T>(rows, Out::width);
    }
  }

  template <class R, class S, class X, class Y, class Hook = NoHook>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y, Hook hook = {}) {
    using T = typename R::T;
    using mode = typename R::mode;
    Arena::Scope scope(*run.scratch);
    constexpr bool kept = saves<mode>.input;
    std::array<Matrix<T>, 2> spare{};
    if (!kept && n > 1)
      for (auto& s : spare) s = run.scratch->template matrix<T>(x.rows, Out::width);
    Matrix<const T> in = x;
    for (int i = 0; i < n; ++i) {
      const Matrix<T> out = i + 1 == n ? y : kept ? saved.after[i] : spare[i % 2];
      run.context->layer = i;
      run.stream.enter(Tag::text);
      L::forward(run.template as<layer_mode<mode>>(), p + i * tensor_count<L>, saved.layers[i], in, out);
      run.stream.leave();
      hook(i, out);
      in = out;
    }
  }
  template <class R, class S, class DY, class DX, class Hook = NoHook>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx, Hook hook = {}) {
    using T = typename R::T;
    using mode = layer_mode<typename R::mode>;
    Arena::Scope scope(*run.scratch);
    std::array<Matrix<T>, 2> spare{};
    for (auto& s : spare) s = run.scratch->template matrix<T>(dy.rows, Out::width);
    Matrix<T> grad = spare[1];
    kernel::add<typename R::backend>::copy(run.stream, kernel::Add<T>{.x = dy, .y = grad});
    for (int i = n - 1; i >= 0; --i) {
      hook(i, grad);
      run.context->layer = i;
      const Matrix<T> below = i == 0 ? Matrix<T>(dx) : spare[(n - 1 - i) % 2];
      run.stream.enter(Tag::text);
      L::backward(run.template as<mode>(), p + i * tensor_count<L>, saved.layers[i], Matrix<const T>(grad), below);
      run.stream.leave();
      run.gradients_final(p + i * tensor_count<L>, tensor_count<L>);
      grad = below;
    }
  }
};

}  // namespace lamina
