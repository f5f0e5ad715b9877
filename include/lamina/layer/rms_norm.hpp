#pragma once
#include <lamina/core/run.hpp>
#include <lamina/kernel/norm/add_norm.hpp>
#include <lamina/kernel/norm/rms_norm.hpp>
#include <lamina/kernel/ranks/across_ranks.hpp>
#include <ratio>

namespace lamina {

/// Scales each row to unit root mean square, then by a learned gain.
///
///     r[n]   = 1 / sqrt(mean_i x[n,i]^2 + eps)
///     y[n,i] = g[i] * x[n,i] * r[n]
///
/// shapes      x, y, dx, dy: (N, D) row-major, N = all tokens of the batch;  g, dg: (D);  r: (N)
/// numerics    r and every sum in fp32 for any T; y and dx rounded once, at the store
///             (transformers also rounds x*r before the gain: parity tests allow it 1 ulp of T)
/// backward    saves r, 4 bytes a row, and its input; dx is overwritten, dg is added to, as for every parameter
/// traffic     forward moves 2*N*D*sizeof(T) bytes: judge it by memory bandwidth, not FLOP/s
/// checkpoint  "<path>.weight"
/// source      Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4; backward derived in its test
template <int D, class Eps = std::ratio<1, 1'000'000>>
struct RMSNorm {
  static_assert(D > 0, "RMSNorm<D>: D is the row length, so it must be positive");
  using In = Shape<Dyn, D>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<Param<name::weight, Shape<D>, init::ones>>;
  static constexpr Traits traits{.learns = true, .strided_y = true, .sums = true};
  static constexpr float eps = static_cast<float>(Eps::num) / static_cast<float>(Eps::den);

  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  struct Saved {
    BOOST_HANA_DEFINE_STRUCT(Saved, (Matrix<const typename Mode::T>, x), (Kept<1>, r));
  };

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    saved.x = x;
    kernel::rms_norm<typename R::backend>::forward(
        run.stream,
        kernel::RMSNormFwd<T, D>{
            .x = packed<D>(Matrix<const T>(x)), .g = p[0].vector<T, D>(), .y = y, .r = saved.r.data},
        eps);
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    kernel::rms_norm<typename R::backend>::backward(run.stream,
                                                    kernel::RMSNormBwd<T, D>{.x = packed<D>(saved.x),
                                                                             .g = p[0].vector<T, D>(),
                                                                             .r = saved.r.data,
                                                                             .dy = packed<D>(Matrix<const T>(dy)),
                                                                             .dx = packed<D>(Matrix<T>(dx)),
                                                                             .dg = p[0].grad});
  }

  /// s += x, then y of s: a step of the residual stream in one kernel. With OverRanks, s is first summed over ranks.
  template <class R, class S, class X, class Y, class... Over>
  static void forward_sum(R run, const Parameter* p, S& saved, X x, Y s, Y y, Over...) {
    using T = typename R::T;
    saved.x = s;
    const kernel::AddRMSNormFwd<T, D> sum{
        .x = packed<D>(Matrix<const T>(x)), .g = p[0].vector<T, D>(), .s = packed<D>(s), .y = y, .r = saved.r.data};
    if constexpr (sizeof...(Over) > 0)
      kernel::across_ranks<typename R::backend>::sum_norm(run.stream,
                                                          kernel::RankSumNorm<T>{kernel::by_rows(sum, eps)});
    else
      kernel::add_rms_norm<typename R::backend>::forward(run.stream, sum, eps);
  }
  /// dx = residual + backward's dx, in one kernel.
  template <class R, class S, class DY, class DX>
  static void backward_sum(R run, const Parameter* p, S& saved, DY dy, DY residual, DX dx) {
    using T = typename R::T;
    kernel::add_rms_norm<typename R::backend>::backward(run.stream,
                                                        kernel::AddRMSNormBwd<T, D>{.x = packed<D>(saved.x),
                                                                                    .g = p[0].vector<T, D>(),
                                                                                    .r = saved.r.data,
                                                                                    .dy = packed<D>(dy),
                                                                                    .residual = packed<D>(residual),
                                                                                    .dx = packed<D>(dx),
                                                                                    .dg = p[0].grad});
  }
};

}  // namespace lamina
