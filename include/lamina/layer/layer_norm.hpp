#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/norm/add_norm.hpp>
#include <lamina/kernel/norm/layer_norm.hpp>
#include <lamina/kernel/ranks/across_ranks.hpp>
#include <ratio>

namespace lamina {

/// Centres each row, scales it to unit variance, then by a learned gain and offset.
///
///     y[n,i] = g[i] * (x[n,i] - mean_n) / sqrt(var_n + eps) + b[i]
///
/// shapes      x, y, dx, dy: (N, D);  g, b, dg, db: (D)
/// numerics    statistics in fp32, y and dx rounded once
/// backward    saves mean and 1/sqrt(var + eps), 8 bytes a row, and its input
/// checkpoint  "<path>.weight", "<path>.bias"
/// source      Ba et al. 2016, arXiv:1607.06450
template <int D, class Eps = std::ratio<1, 1'000'000>>
struct LayerNorm {
  static_assert(D > 0, "LayerNorm<D>: D is the row length, so it must be positive");
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<Param<name::weight, Shape<D>, init::ones>, Param<name::bias, Shape<D>, init::zeros>>;
  static constexpr Traits traits{.learns = true, .strided_y = true, .sums = true};
  static constexpr float eps = static_cast<float>(Eps::num) / static_cast<float>(Eps::den);

  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  struct Saved {
    BOOST_HANA_DEFINE_STRUCT(Saved, (Matrix<const typename Mode::T>, x), (Kept<1>, mean), (Kept<1>, r));
  };

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    saved.x = x;
    kernel::layer_norm<typename R::backend>::forward(run.stream,
                                                     kernel::LayerNormFwd<T, D>{.x = packed<D>(Matrix<const T>(x)),
                                                                                .g = p[0].vector<T, D>(),
                                                                                .b = p[1].vector<T, D>(),
                                                                                .y = y,
                                                                                .mean = saved.mean.data,
                                                                                .r = saved.r.data},
                                                     eps);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    kernel::layer_norm<typename R::backend>::backward(run.stream,
                                                      kernel::LayerNormBwd<T, D>{.x = packed<D>(saved.x),
                                                                                 .g = p[0].vector<T, D>(),
                                                                                 .mean = saved.mean.data,
                                                                                 .r = saved.r.data,
                                                                                 .dy = packed<D>(Matrix<const T>(dy)),
                                                                                 .dx = packed<D>(Matrix<T>(dx)),
                                                                                 .dg = p[0].grad,
                                                                                 .db = p[1].grad});
  }

  /// s += x, then y of s: a step of the residual stream in one kernel. With OverRanks, s is first summed over ranks.
  template <class R, class S, class X, class Y, class... Over>
  static void forward_sum(R run, const Parameter* p, S& saved, X x, Y s, Y y, Over...) {
    using T = typename R::T;
    saved.x = s;
    const kernel::AddLayerNormFwd<T, D> sum{.x = packed<D>(Matrix<const T>(x)),
                                            .g = p[0].vector<T, D>(),
                                            .b = p[1].vector<T, D>(),
                                            .s = packed<D>(s),
                                            .y = y,
                                            .mean = saved.mean.data,
                                            .r = saved.r.data};
    if constexpr (sizeof...(Over) > 0)
      kernel::across_ranks<typename R::backend>::sum_norm(run.stream,
                                                          kernel::RankSumNorm<T>{kernel::by_rows(sum, eps)});
    else
      kernel::add_layer_norm<typename R::backend>::forward(run.stream, sum, eps);
  }
  /// dx = residual + backward's dx, in one kernel.
  template <class R, class S, class DY, class DX>
  static void backward_sum(R run, const Parameter* p, S& saved, DY dy, DY residual, DX dx) {
    using T = typename R::T;
    kernel::add_layer_norm<typename R::backend>::backward(run.stream,
                                                          kernel::AddLayerNormBwd<T, D>{.x = packed<D>(saved.x),
                                                                                        .g = p[0].vector<T, D>(),
                                                                                        .mean = saved.mean.data,
                                                                                        .r = saved.r.data,
                                                                                        .dy = packed<D>(dy),
                                                                                        .residual = packed<D>(residual),
                                                                                        .dx = packed<D>(dx),
                                                                                        .dg = p[0].grad,
                                                                                        .db = p[1].grad});
  }
};

}  // namespace lamina
