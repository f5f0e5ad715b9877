#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/matmul/add_adapters.hpp>

namespace lamina {

/// Whether rows of this run may have adapters of their own for a product with the matrix w.
template <class R>
bool rows_adapted(R run, const Parameter& w) {
  return w.row_terms && run.context && run.context->term_slots;
}

/// Adds to y = x W^T what the adapters of the rows add, if they have any. w is the matrix, or the first one of several
/// that are multiplied together.
template <class R, class X, class Y>
void add_adapters_of_rows(R run, const Parameter& w, X x, Y y) {
  using T = typename R::T;
  if (x.rows == 0 || !rows_adapted(run, w)) return;
  kernel::add_adapters<typename R::backend>::forward(run.stream,
                                                     kernel::AddAdapters<T>{.x = x,
                                                                            .adapters = *w.row_terms,
                                                                            .slots = run.context->term_slots,
                                                                            .slot_stride = run.context->rows / x.rows,
                                                                            .y = y});
}

}  // namespace lamina
