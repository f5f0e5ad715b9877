#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/elementwise/add.hpp>
#include <lamina/kernel/elementwise/dropout.hpp>
#include <lamina/kernel/matmul/matmul.hpp>

namespace lamina {

/// What an adapter adds to a frozen linear layer (layer/adapter/adapted_linear.hpp). Its widths are those of its
/// matrices, so that one function serves the layers of all sizes.
///
///     y += s B h,   h = A drop(x)
///
/// shapes      p: A (rank, In), then B (Out, rank), fp32;  rank 0: nothing is added
/// backward    h is computed again.  dB += s dy^T h;  dA += dh^T drop(x), dh = s dy B;  dx += drop(dh A)
struct LowRankBranch {
  template <class R, class T>
  static void forward(R run, const Parameter* p, Matrix<const T> x, Matrix<T> y) {
    using matmul = kernel::matmul<typename R::backend>;
    const Parameter &A = p[0], &B = p[1];
    if (A.value.rows == 0) return;
    Arena::Scope scope(*run.scratch);
    const Matrix<const T> dropped = drop(run, A, x);
    const Matrix<T> h = run.scratch->template matrix<T>(x.rows, A.value.rows);
    matmul::forward(run.stream, kernel::MatmulFwd<T>{.x = dropped, .w = A.value, .y = h});
    matmul::forward(run.stream, kernel::MatmulFwd<T>{.x = h, .w = B.value, .y = y, .alpha = B.scale, .beta = 1});
  }
  /// dx, which holds what other branches gave it already, may be null.
  template <class R, class T>
  static void backward(R run, const Parameter* p, Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) {
    using matmul = kernel::matmul<typename R::backend>;
    const Parameter &A = p[0], &B = p[1];
    if (A.value.rows == 0) return;
    Arena::Scope scope(*run.scratch);
    const Matrix<T> dh = run.scratch->template matrix<T>(dy.rows, A.value.rows);
    matmul::backward_input(run.stream, kernel::MatmulBwdInput<T>{.dy = dy, .w = B.value, .dx = dh, .alpha = B.scale});
    if constexpr (R::mode::train) {
      const Matrix<const T> dropped = drop(run, A, x);
      const Matrix<T> h = run.scratch->template matrix<T>(dy.rows, A.value.rows);
      matmul::forward(run.stream, kernel::MatmulFwd<T>{.x = dropped, .w = A.value, .y = h});
      matmul::backward_weight(run.stream,
                              kernel::MatmulBwdWeight<T>{.dy = dy, .x = h, .dw = B.matrix_grad(), .alpha = B.scale});
      if (A.grad)
        matmul::backward_weight(run.stream, kernel::MatmulBwdWeight<T>{.dy = dh, .x = dropped, .dw = A.matrix_grad()});
    }
    if (dx) add_input_gradient(run, A, dh, dx);
  }

  /// Whether elements of the branch's input drop out in this run.
  template <class R>
  static bool drops(R run, const Parameter& A) {
    return A.dropout > 0 && run.context->dropout_seed;
  }
  /// x as the branch sees it.
  template <class R, class T>
  static Matrix<const T> drop(R run, const Parameter& A, Matrix<const T> x) {
    if (!drops(run, A)) return x;
    const Matrix<T> dropped = run.scratch->template matrix<T>(x.rows, x.cols);
    kernel::dropout<typename R::backend>::forward(run.stream, mask(run, A), kernel::Dropout<T>{.x = x, .y = dropped});
    return dropped;
  }
  /// dx += drop(dh A).
  template <class R, class T>
  static void add_input_gradient(R run, const Parameter& A, Matrix<T> dh, Matrix<T> dx) {
    using matmul = kernel::matmul<typename R::backend>;
    if (!drops(run, A)) {
      matmul::backward_input(run.stream, kernel::MatmulBwdInput<T>{.dy = dh, .w = A.value, .dx = dx, .beta = 1});
      return;
    }
    const Matrix<T> d = run.scratch->template matrix<T>(dx.rows, dx.cols);
    matmul::backward_input(run.stream, kernel::MatmulBwdInput<T>{.dy = dh, .w = A.value, .dx = d});
    kernel::dropout<typename R::backend>::forward(run.stream, mask(run, A), kernel::Dropout<T>{.x = d, .y = d});
    kernel::add<typename R::backend>::forward(run.stream, kernel::Add<T>{.x = d, .y = dx});
  }

 private:
  template <class R>
  static kernel::DropoutMask mask(R run, const Parameter& A) {
    return {A.dropout, A.id, run.context->dropout_seed};
  }
};

}  // namespace lamina
