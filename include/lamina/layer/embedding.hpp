#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/rows/rows.hpp>

namespace lamina {

/// A row of a table for each token: y[n] = W[id[n]]. The ids come with the call, not as a matrix of activations.
///
/// shapes      ids: (N), negative: a row of zeros, which an image fills;  W: (V, D);  y: (N, D)
/// backward    dW[id[n]] += dy[n]
/// checkpoint  "<path>.weight"
template <int V, int D>
struct Embedding {
  using In = Shape<Dyn>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<Param<name::weight, Shape<V, D>, init::normal>>;
  static constexpr Traits traits{.learns = true, .table = true};
  static constexpr int vocab_size = V;
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  struct Saved {};

  template <class R, class Y>
  static void forward(R run, const Parameter* p, const int* ids, Y y) {
    kernel::embedding<typename R::backend>::forward(
        run.stream, kernel::EmbeddingFwd<typename R::T>{.ids = ids, .w = p[0].value, .y = y});
  }
  template <class R, class DY>
  static void backward(R run, const Parameter* p, const int* ids, DY dy) {
    if (p[0].grad)
      kernel::embedding<typename R::backend>::backward(
          run.stream, kernel::EmbeddingBwd<typename R::T>{.ids = ids, .dy = dy, .dw = p[0].matrix_grad()});
  }
};

}  // namespace lamina
