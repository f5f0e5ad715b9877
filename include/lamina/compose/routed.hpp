#pragma once
#include <lamina/compose/wrap/tapped.hpp>
#include <lamina/kernel/grouped.hpp>
#include <lamina/kernel/rows/route.hpp>

namespace lamina {

namespace name {
LAMINA_NAME(experts);
}

/// n modules of one type under "experts.<i>", of which each row goes to some. They run as one (core/grouped.hpp), so
/// their layers are linear ones, gates, activations, and compositions of these.
template <int n, class L>
struct Experts : Numbered<name::experts, n, L> {};

/// The k experts with the largest probabilities. Normalised: their weights are made to sum to 1.
template <int k, bool Normalised = true>
struct TopK {
  static constexpr int count = k;
  static constexpr bool normalised = Normalised;
};

/// The loss of experts that are chosen unevenly, over R rows of a micro-batch in all layers: C_e of them chose expert
/// e, P_e is the sum of their probabilities of it. It is k if all are chosen alike.
///
///     n sum_e (C_e / R) (P_e / R)
///
/// source      Fedus et al. 2022, arXiv:2101.03961, eq. 4 to 6, as transformers' load_balancing_loss_func has it
template <int n, int k>
struct LoadBalance {
  static constexpr int sums = 2 * n;  ///< C, P
  static double loss(const float* s) {
    double choices = 0, products = 0;
    for (int e = 0; e < n; ++e)
      choices += static_cast<double>(s[e]), products += static_cast<double>(s[e]) * static_cast<double>(s[n + e]);
    const double rows = choices / k;
    return rows > 0 ? n * products / (rows * rows) : 0;
  }
};

namespace detail {
template <int logits, int experts, int k, bool same_rows>
struct RoutedCheck {
  static constexpr bool seen = true;
  static_assert(
      logits == experts,
      "Routed: the router's Out must be one number for each of the Experts: RoutedCheck<logits, experts, ...>");
  static_assert(same_rows, "Routed: router and experts read the same rows, so their In must be equal");
  static_assert(k > 0 && k <= experts, "Routed: TopK<k> wants k between 1 and the number of experts");
  static_assert(experts <= kernel::RouteSort::most_experts, "Routed: the kernels take 1024 experts");
};
}  // namespace detail

/// A mixture of experts: each row goes to k of n modules of one type, chosen by a router.
///
///     p = softmax(router(x)), fp32      S = the k largest      w_e = p_e / sum_S p      y = sum_S w_e expert_e(x)
///
/// shapes      x, dx: (N, In);  y, dy: (N, Out);  the experts run on N k rows, sorted by expert
/// backward    keeps x alone: router and experts run once more
/// numerics    weights in fp32, sums over experts too, from the largest weight on
/// checkpoint  the router's own names, "<path>.experts.<i>.<name>"
/// auxiliary   LoadBalance, if a run asks for it
/// source      Shazeer et al. 2017, arXiv:1701.06538; top-k of a softmax: Qwen3 technical report, arXiv:2505.09388
template <class Router, class Experts_, class Top>
struct Routed : RunsAgain {
  using composition = Routed;
  using children = List<Router, Experts_>;
  template <class R, class E>
  using rebuild = Routed<R, E, Top>;
  using Expert = typename Experts_::module;
  static constexpr int n = Experts_::repeats, k = Top::count;
  static constexpr bool normalised = Top::normalised;
  using auxiliary = LoadBalance<n, k>;
  static_assert(Checked<detail::RoutedCheck<Router::Out::width, n, k,
                                            std::is_same_v<typename Router::In, typename Expert::In>>>::seen);
  using In = typename Expert::In;
  using Out = typename Expert::Out;
  static constexpr Traits traits{.learns = learns<Router> || learns<Experts_>, .mixture = true};
  /// Of a child's modules, those that a row passes.
  static constexpr int used(int child) { return child == 0 ? 1 : k; }

  template <std::size_t I, class Mode>
  using mode_of = part_mode<at<List<Router, Expert>, I>, Mode, false>;
  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    using inference = typename R::mode::inference;
    saved.x = x;
    Arena::Scope scope(*run.scratch);
    typename Router::template Saved<inference> router_nothing{};
    typename Expert::template Saved<inference> nothing{};
    const Routes<T> routes = choose(run.template as<inference>(), p, router_nothing, Matrix<const T>(x));
    if (const AuxiliarySums& to = run.context->auxiliary; to.gathers)
      kernel::route<typename R::backend>::sum(
          run.stream, kernel::RouteSums<T>{.logits = routes.logits, .k = k, .expert = routes.expert, .to = to});
    const Matrix<T> own = sorted_rows(run, routes, Matrix<const T>(x)), out = rows_of(run, own.rows, Out::width);
    Context<T> context = context_of(run, own.rows);
    {
      const InModule experts(run.stream, name::experts::text);
      Expert::forward(grouped<inference>(run, p, routes, context), p + tensor_count<Router>, nothing,
                      Matrix<const T>(own), out);
    }
    kernel::route<typename R::backend>::combine(
        run.stream,
        kernel::RouteCombine<T>{.sorted = out, .place = routes.place, .weight = routes.weight, .k = k, .y = y});
  }

  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using router_mode = mode_of<0, typename R::mode>;
    using kernels = kernel::route<typename R::backend>;
    Arena::Scope scope(*run.scratch);
    typename Router::template Saved<router_mode> again{};
    allocate_saved<Router, router_mode>(again, *run.scratch, dy.rows);
    const Routes<T> routes = choose(run.template as<router_mode>(), p, again, saved.x);
    float* const dweight = run.scratch->template take<float>(static_cast<std::size_t>(dy.rows) * k);
    const Matrix<T> dsorted = experts_backward(run, p, routes, saved.x, Matrix<const T>(dy), dweight, bool(dx));
    if constexpr (keeps<Router, router_mode>) {
      const Matrix<T> dlogits = rows_of(run, dy.rows, n, Router::traits.gradient_tail);
      kernels::backward(run.stream, kernel::RouteBwd<T>{.logits = routes.logits,
                                                        .k = k,
                                                        .normalised = normalised,
                                                        .expert = routes.expert,
                                                        .weight = routes.weight,
                                                        .dweight = dweight,
                                                        .dlogits = dlogits,
                                                        .balance = run.context->auxiliary});
      Router::backward(run.template as<router_mode>(), p, again, Matrix<const T>(dlogits), dx);
    }
    if (dx)
      kernels::combine(run.stream, kernel::RouteCombine<T>{.sorted = dsorted,
                                                           .place = routes.place,
                                                           .k = k,
                                                           .y = dx,
                                                           .beta = keeps<Router, router_mode> ? 1.0f : 0.0f});
  }

 private:
  /// Which rows go where, in scratch.
  template <class T>
  struct Routes {
    Matrix<T> logits;
    int *expert, *source, *place, *ends;  ///< as RouteSort has them
    float* weight;
  };
  template <class R>
  static auto rows_of(R run, int rows, int width, int tail = 0) {
    return run.scratch->template matrix<typename R::T>(rows, width, tail);
  }
  template <class R, class S, class T>
  static Routes<T> choose(R run, const Parameter* p, S& saved, Matrix<const T> x) {
    using kernels = kernel::route<typename R::backend>;
    const auto choices = static_cast<std::size_t>(x.rows) * k;
    const auto take = [&](std::size_t count) { return run.scratch->template take<int>(count); };
    const Routes<T> to{.logits = rows_of(run, x.rows, n),
                       .expert = take(choices),
                       .source = take(choices),
                       .place = take(choices),
                       .ends = take(n),
                       .weight = run.scratch->template take<float>(choices)};
    Router::forward(run, p, saved, x, to.logits);
    kernels::choose(
        run.stream,
        kernel::RouteChoose<T>{
            .logits = to.logits, .k = k, .normalised = normalised, .expert = to.expert, .weight = to.weight});
    kernels::sort(run.stream, kernel::RouteSort{.expert = to.expert,
                                                .rows = x.rows,
                                                .k = k,
                                                .experts = n,
                                                .source = to.source,
                                                .place = to.place,
                                                .ends = to.ends});
    return to;
  }
  template <class R, class T>
  static Matrix<T> sorted_rows(R run, const Routes<T>& routes, Matrix<const T> x) {
    const Matrix<T> own = rows_of(run, x.rows * k, In::width, Expert::traits.input_tail);
    kernel::rows<typename R::backend>::gather(run.stream, own.rows,
                                              kernel::Rows<T>{.x = x, .index = routes.source, .y = own});
    return own;
  }
  /// The tables of sorted rows: they are in no sequence, and have no adapters by name.
  template <class R>
  static auto context_of(R run, int rows) {
    Context<typename R::T> context = *run.context;
    context.rows = rows, context.term_slots = nullptr, context.auxiliary = {};
    return context;
  }
  template <class Mode, class R, class T>
  static auto grouped(R run, const Parameter* p, const Routes<T>& routes, Context<T>& context) {
    using B = Grouped<typename R::backend>;
    const Stream<B> stream{
        run.stream, {.ends = routes.ends, .count = n}, p + tensor_count<Router>, tensor_count<Expert>};
    stream.expect_alike();
    return Run<B, Mode>{stream, run.scratch, &context};
  }
  /// Runs the experts forward again, then backward. Returns the gradients of sorted rows, if dx is wanted.
  template <class R, class T>
  static Matrix<T> experts_backward(R run, const Parameter* p, const Routes<T>& routes, Matrix<const T> x,
                                    Matrix<const T> dy, float* dweight, bool dx) {
    using mode = mode_of<1, typename R::mode>;
    const int rows = x.rows * k;
    const Matrix<T> down = dx ? rows_of(run, rows, In::width) : Matrix<T>{};
    Arena::Scope scope(*run.scratch);
    const Matrix<T> own = sorted_rows(run, routes, x), out = rows_of(run, rows, Out::width);
    const Matrix<T> dout = rows_of(run, rows, Out::width, Expert::traits.gradient_tail);
    typename Expert::template Saved<mode> again{};
    allocate_saved<Expert, mode>(again, *run.scratch, rows);
    Context<T> context = context_of(run, rows);
    const auto inside = grouped<mode>(run, p, routes, context);
    const InModule experts(run.stream, name::experts::text);
    Expert::forward(inside, p + tensor_count<Router>, again, Matrix<const T>(own), out);
    kernel::route<typename R::backend>::split(run.stream, kernel::RouteSplit<T>{.dy = dy,
                                                                                .sorted = out,
                                                                                .place = routes.place,
                                                                                .weight = routes.weight,
                                                                                .k = k,
                                                                                .dsorted = dout,
                                                                                .dweight = dweight});
    if constexpr (keeps<Expert, mode>)
      Expert::backward(inside, p + tensor_count<Router>, again, Matrix<const T>(dout), down);
    return down;
  }
};

}  // namespace lamina
