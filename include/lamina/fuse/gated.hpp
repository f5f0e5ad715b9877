#pragma once
#include <lamina/fuse/joint.hpp>
#include <lamina/kernel/matmul/gated_product.hpp>
#include <lamina/layer/activation.hpp>

namespace lamina {

/// A gated MLP, y = down(silu(gate(x)) * up(x)), that keeps gate and up alone: if down wants its input in backward,
/// the activation is evaluated again. Saves F elements a row against one more pass over 2F. If neither is kept, product
/// and activation are one operation.
template <class GateUp, class Gate, class Down>
struct Gated : Chain<GateUp, Gate, Down> {
  using Whole = Chain<GateUp, Gate, Down>;
  using composition = Gated;
  template <class A, class B, class C>
  using rebuild = Gated<A, B, C>;
  using typename Whole::In;
  static constexpr int F = Gate::Out::width;
  template <std::size_t I, class Mode>
  using mode_of = typename Whole::template mode_of<I, Mode>;
  template <class Mode>
  static constexpr bool keeps_gate = keeps<Gate, mode_of<1, Mode>> || keeps<Down, mode_of<2, Mode>>;

  template <class Mode>
  struct Saved {
    typename GateUp::template Saved<mode_of<0, Mode>> gate_up;
    typename Gate::template Saved<mode_of<1, Mode>> gate;
    typename Down::template Saved<mode_of<2, Mode>> down;
    Matrix<typename Mode::T> h;  ///< (N, 2F) gate and up side by side
  };
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return saved_row_bytes<GateUp, mode_of<0, Mode>>() + saved_row_bytes<Down, mode_of<2, Mode>>() +
           (keeps_gate<Mode> ? sizeof(typename Mode::T) * 2 * F : 0);
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    allocate_saved<GateUp, mode_of<0, Mode>>(saved.gate_up, arena, rows);
    allocate_saved<Down, mode_of<2, Mode>>(saved.down, arena, rows);
    if (keeps_gate<Mode>) saved.h = arena.matrix<typename Mode::T>(rows, 2 * F);
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    Arena::Scope scope(*run.scratch);
    const auto a = gate(run, p, saved, x);
    Down::forward(run.template as<mode_of<2, typename R::mode>>(), p + tensor_count<GateUp>, saved.down, a, y);
  }
  template <class R, class S, class X, class Y>
  static void forward_add(R run, const Parameter* p, S& saved, X x, Y y) {
    Arena::Scope scope(*run.scratch);
    const auto a = gate(run, p, saved, x);
    Down::forward_add(run.template as<mode_of<2, typename R::mode>>(), p + tensor_count<GateUp>, saved.down, a, y);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using gate_up_mode = mode_of<0, typename R::mode>;
    using down_mode = mode_of<2, typename R::mode>;
    if constexpr (keeps<Down, down_mode>) {
      Arena::Scope scope(*run.scratch);
      const auto take = [&](int width, int tail = 0) { return run.scratch->template matrix<T>(dy.rows, width, tail); };
      if constexpr (stays<Down, down_mode>.input) {
        const Matrix<T> a = take(F, tail_between<Gate, Down>);
        typename Gate::template Saved<typename R::mode::inference> nothing{};
        Gate::forward(run.template as<typename R::mode::inference>(), p, nothing, Matrix<const T>(saved.h), a);
        Down::save_input(saved.down, Matrix<const T>(a));
      }
      const Matrix<T> da = down_mode::dx && (dx || learns<GateUp>) ? take(F) : Matrix<T>{};
      Down::backward(run.template as<down_mode>(), p + tensor_count<GateUp>, saved.down, dy, da);
      if constexpr (keeps<GateUp, gate_up_mode>) {
        if (!da) return;
        const Matrix<T> dh = take(2 * F, gradient_tail_between<GateUp, Gate>);
        Gate::backward(run.template as<mode_of<1, typename R::mode>>(), p, saved.gate, Matrix<const T>(da), dh);
        GateUp::backward(run.template as<gate_up_mode>(), p, saved.gate_up, Matrix<const T>(dh), dx);
      }
    }
  }

 private:
  /// silu(gate(x)) * up(x), in scratch.
  template <class R, class S, class X>
  static Matrix<const typename R::T> gate(R run, const Parameter* p, S& saved, X x) {
    using T = typename R::T;
    using mode = typename R::mode;
    const Matrix<T> a = run.scratch->template matrix<T>(x.rows, F, tail_between<Gate, Down>);
    Arena::Scope scope(*run.scratch);
    const bool adapted = rows_adapted(run, p[0]);
    if constexpr (!keeps_gate<mode> && GateUp::one_product)
      if (adapted && p[0].row_terms->below_weight) {
        run.stream.enter(GateUp::name);
        multiply_adapted(run, p[0], GateUp::joined(p), static_cast<const T*>(nullptr), x, a, {.gated = true});
        run.stream.leave();
        return a;
      }
    const Matrix<T> h = keeps_gate<mode> ? saved.h : run.scratch->template matrix<T>(x.rows, 2 * F);
    if constexpr (!keeps_gate<mode> && GateUp::one_product)
      if (!adapted) {
        run.stream.enter(GateUp::name);
        kernel::gated_product<typename R::backend>::forward(
            run.stream, kernel::GatedProduct<T>{.x = x, .w = GateUp::joined(p), .h = h, .y = a});
        run.stream.leave();
        return a;
      }
    GateUp::forward(run.template as<mode_of<0, mode>>(), p, saved.gate_up, x, h);
    Gate::forward(run.template as<mode_of<1, mode>>(), p, saved.gate, Matrix<const T>(h), a);
    return a;
  }
};

namespace detail {
template <class M>
struct GateChain {
  static constexpr bool applies = false;
};
template <class... L, int F, class Down>
struct GateChain<Chain<Joint<L...>, SiluGate<F>, Down>> {
  static constexpr bool applies = Down::traits.saves_input_alone;
  using type = Gated<Joint<L...>, SiluGate<F>, Down>;
};
}  // namespace detail

/// Fusion rule, after JoinLinears: SwiGLU becomes Gated.
struct RecomputeGate {
  template <class M, class Path>
  static constexpr bool applies = detail::GateChain<M>::applies;
  template <class M, class Path>
  using apply = typename detail::GateChain<M>::type;
};

}  // namespace lamina
