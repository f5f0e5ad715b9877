#pragma once
#include <lamina/fuse/joint.hpp>

namespace lamina {

/// Adapted linear layers that read the same x, each product with its adapters in one. Weights keeps matrices and
/// adapters in one matrix of (N + R) rows and (K + tail) columns, R the sum of the ranks:
///
///     W   sB        t = x A^T,   [x t] [W sB]^T = x W^T + s t B^T          forward
///     A    .        dt = s dy B, [dy dt] [W; A] = dy W + dt A              backward
///
/// so neither y nor dx is read again to add the adapters' share. sB is block-diagonal. t is stored in the tail of x, dt
/// in that of dy; without one, x or dy is copied to a matrix with a tail. Names, tensors and gradients are Joint's.
///
/// numerics    the adapter's share is added in fp32 before y is rounded: once, not twice
/// memory      if ranks are 0 or their sum exceeds the tail, Weights places the layers apart, and they run as Joint
/// source      kernels: Hu et al. 2021, arXiv:2106.09685, as one product
template <class... L>
struct FoldedAdapters : Joint<L...> {
  using Plain = Joint<L...>;
  using Branches = typename Plain::Branches;
  using composition = FoldedAdapters;
  template <class... C>
  using rebuild = FoldedAdapters<C...>;
  using typename Plain::children;
  using typename Plain::In;
  using typename Plain::Out;
  static constexpr int K = In::width, N = Out::width;
  static constexpr Traits traits = [] {
    Traits t = Plain::traits;
    t.input_tail = t.gradient_tail = adapter_tail;
    t.folds = true;
    return t;
  }();

  template <class Mode>
  struct Saved {
    Matrix<const typename Mode::T> x;
    Matrix<const typename Mode::T> t;  ///< of forward, if it is in the tail of x; else null
  };
  template <class S, class X>
  static void save_input(S& saved, X x) {
    saved = {x, {}};
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    if (!p[0].folded) return forward_plain(run, p, saved, x, y);
    Arena::Scope scope(*run.scratch);
    const int ranks = rank_sum(p);
    if (ranks == 0) return forward_without_adapters(run, p, x, y);
    const auto [own_x, t] = with_tail(run, Matrix<const T>(x), ranks);
    run.stream.enter(Plain::name);
    find_t(run, p, own_x, t);
    kernel::matmul<typename R::backend>::forward(
        run.stream, kernel::MatmulFwd<T>{
                        .x = widened(own_x, ranks), .w = part_of(p, 0, 0, N, K + ranks), .bias = bias<T>(p), .y = y});
    run.stream.leave();
    save_input(saved, x);
    if (own_x.data == x.data) saved.t = t;
  }

  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using matmul = kernel::matmul<typename R::backend>;
    if (!p[0].folded) return backward_plain(run, p, saved, dy, dx);
    Arena::Scope scope(*run.scratch);
    const int ranks = rank_sum(p);
    const bool drops = LowRankBranch::drops(run, p[first_adapter]);
    run.stream.enter(Plain::name);
    const auto [wide, dt] = with_tail(run, Matrix<const T>(dy), ranks);
    matmul::backward_input(run.stream,
                           kernel::MatmulBwdInput<T>{.dy = wide, .w = part_of(p, 0, K, N, ranks), .dx = dt});
    if (dx && !drops)
      matmul::backward_input(
          run.stream,
          kernel::MatmulBwdInput<T>{.dy = widened(wide, ranks), .w = part_of(p, 0, 0, N + ranks, K), .dx = dx});
    else if (dx)
      matmul::backward_input(run.stream, kernel::MatmulBwdInput<T>{.dy = wide, .w = part_of(p, 0, 0, N, K), .dx = dx});
    run.stream.leave();
    if (drops) each_input_gradient(run, p, dt, dx);
    if constexpr (R::mode::train) weight_gradients(run, p, saved, wide, dt);
  }

 private:
  static constexpr int own = Plain::has_bias ? 2 : 1;
  static constexpr int first_adapter = own;

  template <class F>
  static void for_each_part(const Parameter* p, F f) {
    int rank_before = 0;
    for_constants<Plain::size>([&](auto i) {
      const Parameter* part = p + Branches::template first_tensor<i>;
      f(std::type_identity<detail::JointPart<at<children, i>>>{}, part, Branches::template first_column<i>,
        at<children, i>::Out::width, rank_before);
      rank_before += part[own].value.rows;
    });
  }
  static int rank_sum(const Parameter* p) {
    int sum = 0;
    for_each_part(p, [&](auto, const Parameter* part, int, int, int) { sum += part[own].value.rows; });
    return sum;
  }
  /// A window of the folded matrix.
  static Weight part_of(const Parameter* p, int row, int column, int rows, int cols) {
    Weight w = p[0].value;
    w.data =
        static_cast<const std::byte*>(w.data) + static_cast<std::size_t>(row * w.stride + column) * size_bytes(w.dtype);
    w.rows = rows, w.cols = cols;
    return w;
  }
  template <class T>
  static const T* bias(const Parameter* p) {
    if constexpr (Plain::has_bias)
      return static_cast<const T*>(p[1].value.data);
    else
      return nullptr;
  }

  /// m with its first columns after the last one.
  template <class T>
  static Matrix<const T> widened(Matrix<const T> m, int more) {
    return {m.data, m.rows, m.cols + more, m.stride};
  }
  /// A matrix with columns of ours after its last one.
  template <class T>
  struct WithTail {
    Matrix<const T> m;
    Matrix<T> tail;
  };
  /// m itself if its tail has room for so many columns, else a copy whose tail has.
  template <class R, class T>
  static WithTail<T> with_tail(R run, Matrix<const T> m, int count) {
    if (const Matrix<T> tail = m.tail_columns(count)) return {m, tail};
    const Matrix<T> copy = run.scratch->template matrix<T>(m.rows, m.cols, adapter_tail);
    kernel::add<typename R::backend>::copy(run.stream, kernel::Add<T>{.x = m, .y = copy});
    return {copy, copy.tail_columns(count)};
  }

  /// t = x A^T; each part's own elements drop out.
  template <class R, class T>
  static void find_t(R run, const Parameter* p, Matrix<const T> x, Matrix<T> t) {
    using matmul = kernel::matmul<typename R::backend>;
    if (!LowRankBranch::drops(run, p[first_adapter])) {
      matmul::forward(run.stream, kernel::MatmulFwd<T>{.x = x, .w = part_of(p, N, 0, t.cols, K), .y = t});
      return;
    }
    for_each_part(p, [&](auto, const Parameter* part, int, int, int rank_before) {
      if (part[own].value.rows == 0) return;
      Arena::Scope scope(*run.scratch);
      matmul::forward(run.stream, kernel::MatmulFwd<T>{.x = LowRankBranch::drop(run, part[own], x),
                                                       .w = part[own].value,
                                                       .y = t.columns(rank_before, part[own].value.rows)});
    });
  }
  template <class R, class T, class DX>
  static void each_input_gradient(R run, const Parameter* p, Matrix<T> dt, DX dx) {
    if (!dx) return;
    for_each_part(p, [&](auto, const Parameter* part, int, int, int rank_before) {
      if (part[own].value.rows == 0) return;
      Arena::Scope scope(*run.scratch);
      LowRankBranch::add_input_gradient(run, part[own], dt.columns(rank_before, part[own].value.rows), Matrix<T>(dx));
    });
  }
  /// dB += s dy^T t,   dA += dt^T drop(x).
  template <class R, class S, class T>
  static void weight_gradients(R run, const Parameter* p, S& saved, Matrix<const T> dy, Matrix<T> dt) {
    using matmul = kernel::matmul<typename R::backend>;
    Matrix<const T> t = saved.t;
    if (!t) {
      const auto [x, again] = with_tail(run, saved.x, dt.cols);
      run.stream.enter(Plain::name);
      find_t(run, p, x, again);
      run.stream.leave();
      t = again;
    }
    for_each_part(p, [&](auto type, const Parameter* part, int column, int width, int rank_before) {
      using Part = typename decltype(type)::type;
      const Parameter &A = part[own], &B = part[own + 1];
      const int rank = A.value.rows;
      if (rank == 0) return;
      Arena::Scope scope(*run.scratch);
      run.stream.enter(Part::name);
      matmul::backward_weight(run.stream, kernel::MatmulBwdWeight<T>{.dy = dy.columns(column, width),
                                                                     .x = t.columns(rank_before, rank),
                                                                     .dw = B.matrix_grad(),
                                                                     .alpha = B.scale});
      matmul::backward_weight(run.stream,
                              kernel::MatmulBwdWeight<T>{.dy = dt.columns(rank_before, rank),
                                                         .x = LowRankBranch::drop(run, A, Matrix<const T>(saved.x)),
                                                         .dw = A.matrix_grad()});
      run.stream.leave();
    });
  }

  /// With parameters whose adapters have been left out (train/step/trained_weights.hpp): for inference.
  template <class R, class X, class Y>
  static void forward_without_adapters(R run, const Parameter* p, X x, Y y) {
    using T = typename R::T;
    run.stream.enter(Plain::name);
    kernel::matmul<typename R::backend>::forward(
        run.stream, kernel::MatmulFwd<T>{.x = x, .w = part_of(p, 0, 0, N, K), .bias = bias<T>(p), .y = y});
    run.stream.leave();
  }
  template <class R, class S, class X, class Y>
  static void forward_plain(R run, const Parameter* p, S& saved, X x, Y y) {
    typename Plain::template Saved<typename R::mode> plain{};
    Plain::forward(run, p, plain, x, y);
    saved.x = plain.x;
  }
  template <class R, class S, class DY, class DX>
  static void backward_plain(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    typename Plain::template Saved<typename R::mode> plain{saved.x};
    Plain::backward(run, p, plain, dy, dx);
  }
};

namespace detail {
template <class M>
struct FoldJoint {
  static constexpr bool applies = false;
};
template <class... L>
struct FoldJoint<Joint<L...>> {
  static constexpr bool applies = (JointPart<L>::adapted && ...);
  using type = FoldedAdapters<L...>;
};
template <class M>
requires(JointPart<M>::adapted&& requires { M::tag::text; }) struct FoldJoint<M> {
  static constexpr bool applies = true;
  using type = FoldedAdapters<M>;
};
}  // namespace detail

/// Fusion rule, after all others: Joint and single adapted linear layers become FoldedAdapters.
struct FoldAdapters {
  static constexpr bool outermost_first = true;
  template <class M, class Path>
  static constexpr bool applies = detail::FoldJoint<M>::applies;
  template <class M, class Path>
  using apply = typename detail::FoldJoint<M>::type;
};

}  // namespace lamina
