#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/matmul/add_adapters.hpp>
#include <lamina/kernel/matmul/matmul.hpp>

/// Products whose rows may each have an adapter of its own.
namespace lamina {

/// Whether rows of this run may have adapters of their own for a product with the matrix w.
template <class R>
bool rows_adapted(R run, const Parameter& w) {
  return w.row_terms && run.context && run.context->term_slots;
}

/// What a product with adapters does with z = x W^T + b + the row's adapter.
struct AdaptedOutput {
  float beta = 0;      ///< y = z + beta y
  bool gated = false;  ///< y = silu(of z's first half) * second half
};
/// The product with its adapters, if A is stored below W (kernel::RowTerms): x [W; A]^T as one product, then the
/// adapters' B. first: the product's first parameter. w: the whole matrix.
template <class R, class T, class X, class Y>
void multiply_adapted(R run, const Parameter& first, Weight w, const T* bias, X x, Y y, AdaptedOutput output) {
  if (x.rows == 0) return;
  Arena::Scope scope(*run.scratch);
  const kernel::RowTerms& terms = *first.row_terms;
  w.rows += terms.slots * terms.ranks();
  const Matrix<T> h = run.scratch->template matrix<T>(x.rows, w.rows);
  kernel::matmul<typename R::backend>::forward(run.stream, kernel::MatmulFwd<T>{.x = x, .w = w, .y = h});
  kernel::add_adapters<typename R::backend>::finish(run.stream,
                                                    kernel::AdaptedProduct<T>{.h = h,
                                                                              .adapters = terms,
                                                                              .bias = bias,
                                                                              .slots = run.context->term_slots,
                                                                              .slot_stride = run.context->rows / x.rows,
                                                                              .y = y,
                                                                              .beta = output.beta,
                                                                              .gated = output.gated});
}

/// y = x W^T + b + beta y, with what the adapters of the rows add, if they have any.
template <class R, class T, class X, class Y>
void multiply_rows(R run, const Parameter& first, const Weight& w, const T* bias, X x, Y y, float beta = 0) {
  const bool adapted = x.rows > 0 && rows_adapted(run, first);
  if (adapted && first.row_terms->below_weight) return multiply_adapted(run, first, w, bias, x, y, {.beta = beta});
  kernel::matmul<typename R::backend>::forward(
      run.stream, kernel::MatmulFwd<T>{.x = x, .w = w, .bias = bias, .y = y, .beta = beta});
  if (adapted)
    kernel::add_adapters<typename R::backend>::forward(run.stream,
                                                       kernel::AddAdapters<T>{.x = x,
                                                                              .adapters = *first.row_terms,
                                                                              .slots = run.context->term_slots,
                                                                              .slot_stride = run.context->rows / x.rows,
                                                                              .y = y});
}

}  // namespace lamina
