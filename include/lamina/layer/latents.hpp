#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/rows/rows.hpp>

namespace lamina {

/// K learned rows for each sequence, whatever the sequence is: the queries of Cross. It reads rows of width 0.
///
///     y[s K + i] = W[i]        i < K, s a sequence of the context
///
/// shapes      W: (K, D);  y, dy: (S K, D)
/// backward    dW[i] += sum_s dy[s K + i]
/// checkpoint  "<path>.weight"
/// source      Jaegle et al. 2021, arXiv:2103.03206, section 3.1
template <int K, int D>
struct Latents {
  static_assert(K > 0, "Latents<K, D>: K is the number of rows of a sequence, so it must be positive");
  using In = Shape<Dyn, 0>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<Param<name::weight, Shape<K, D>, init::normal>>;
  static constexpr Traits traits{.learns = true};
  static constexpr int latents = K;
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  struct Saved {};

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S&, X, Y y) {
    kernel::embedding<typename R::backend>::forward(
        run.stream, kernel::EmbeddingFwd<typename R::T>{.ids = run.context->latent_rows, .w = p[0].value, .y = y});
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S&, DY dy, DX) {
    if (p[0].grad)
      kernel::embedding<typename R::backend>::backward(
          run.stream,
          kernel::EmbeddingBwd<typename R::T>{.ids = run.context->latent_rows, .dy = dy, .dw = p[0].matrix_grad()});
  }
};

}  // namespace lamina
