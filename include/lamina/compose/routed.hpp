#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include <lamina/compose/wrap/tapped.hpp>
#include <lamina/core/host/kernel.hpp>

namespace lamina {

namespace name {
LAMINA_NAME(experts);
}

/// n modules of one type under "experts.<i>", of which each row goes to some.
template <int n, class L>
struct Experts : Numbered<name::experts, n, L> {};

/// The k experts with the largest probabilities. Normalised: their weights are made to sum to 1.
template <int k, bool Normalised = true>
struct TopK {
  static constexpr int count = k;
  static constexpr bool normalised = Normalised;
};

namespace detail {
/// Where a row goes.
template <int k>
struct Route {
  std::array<int, k> expert{};
  std::array<float, k> weight{}, probability{};  ///< after and before they are made to sum to 1
  float sum = 0;                                 ///< of the probabilities
};
template <int k, bool normalised>
Route<k> route_row(const std::vector<float>& probabilities) {
  Route<k> route;
  std::vector<int> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0);
  const auto larger = [&](int a, int b) {
    const float x = probabilities[static_cast<std::size_t>(a)], y = probabilities[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), larger);
  for (std::size_t j = 0; j < k; ++j) {
    route.expert[j] = order[j];
    route.sum += route.probability[j] = probabilities[static_cast<std::size_t>(order[j])];
  }
  for (std::size_t j = 0; j < k; ++j)
    route.weight[j] = normalised ? route.probability[j] / route.sum : route.probability[j];
  return route;
}
template <class Router, class Experts_, class Top>
struct RoutedCheck {
  static constexpr bool seen = true;
  static_assert(Router::Out::width == Experts_::repeats,
                "Routed: the router's Out must be one number for each of the Experts");
  static_assert(std::is_same_v<typename Router::In, typename Experts_::module::In>,
                "Routed: router and experts read the same rows, so their In must be equal");
  static_assert(Top::count > 0 && Top::count <= Experts_::repeats,
                "Routed: TopK<k> wants k between 1 and the number of experts");
};
}  // namespace detail

/// A mixture of experts: each row goes to k of n modules of one type, chosen by a router.
///
///     p = softmax(router(x)), fp32      S = the k largest      w_e = p_e / sum_S p      y = sum_S w_e expert_e(x)
///
/// shapes      x, dx: (N, In);  y, dy: (N, Out)
/// backward    keeps x alone: router and experts run once more, an expert on its own rows at a time
/// numerics    weights and sums over experts in fp32, in the order of the experts
/// runs        on Cpu: an expert's number of rows depends on data, which the host must know
/// checkpoint  the router's own names, "<path>.experts.<i>.<name>"
/// source      Shazeer et al. 2017, arXiv:1701.06538; top-k of a softmax: Qwen3 technical report, arXiv:2505.09388
template <class Router, class Experts_, class Top>
struct Routed {
  using composition = Routed;
  using children = List<Router, Experts_>;
  template <class R, class E>
  using rebuild = Routed<R, E, Top>;
  using Expert = typename Experts_::module;
  static constexpr int n = Experts_::repeats, k = Top::count;
  static constexpr bool normalised = Top::normalised;
  static_assert(Checked<detail::RoutedCheck<Router, Experts_, Top>>::seen);
  using In = typename Expert::In;
  using Out = typename Expert::Out;
  static constexpr Traits traits{.learns = learns<Router> || learns<Experts_>};
  /// Of a child's modules, those that a row passes.
  static constexpr int used(int child) { return child == 0 ? 1 : k; }

  template <std::size_t I, class Mode>
  using mode_of = part_mode<at<List<Router, Expert>, I>, Mode, false>;
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return 0;
  }
  template <class Mode>
  static void allocate(Saved<Mode>&, Arena&, int) {}

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    saved.x = x;
    Arena::Scope scope(*run.scratch);
    const auto inference = run.template as<typename R::mode::inference>();
    const std::vector<Route> routes = routes_of(inference, p, x);
    const Matrix<float> sum = run.scratch->template matrix<float>(y.rows, Out::width);
    host_kernel(run.stream, "routed_sum", [&] {
      for (int i = 0; i < sum.rows; ++i) std::fill_n(sum.row(i), sum.cols, 0.0f);
    });
    each_expert(run, routes, x.rows, [&](int e, const std::vector<Place>& places, int rows) {
      const Matrix<T> own = gathered(run, places, rows, x), out = run.scratch->template matrix<T>(rows, Out::width);
      typename Expert::template Saved<typename R::mode::inference> nothing{};
      Context<T> context = context_of(run, places);
      auto inside = inference;
      inside.context = &context;
      Expert::forward(inside, expert(p, e), nothing, Matrix<const T>(own), out);
      host_kernel(run.stream, "routed_sum", [&] { add_weighted(routes, places, out, sum); });
    });
    host_kernel(run.stream, "routed_sum", [&] {
      for (int i = 0; i < y.rows; ++i)
        for (int c = 0; c < y.cols; ++c) y(i, c) = round_to<T>(sum(i, c));
    });
  }

  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using mode = mode_of<1, typename R::mode>;
    Arena::Scope scope(*run.scratch);
    const Matrix<const T> x = saved.x;
    const std::vector<Route> routes = routes_of(run.template as<typename R::mode::inference>(), p, x);
    std::vector<std::array<float, k>> dweight(routes.size());
    const Matrix<float> sum = run.scratch->template matrix<float>(x.rows, In::width);
    host_kernel(run.stream, "routed_sum", [&] {
      for (int i = 0; i < sum.rows; ++i) std::fill_n(sum.row(i), sum.cols, 0.0f);
    });
    each_expert(run, routes, x.rows, [&](int e, const std::vector<Place>& places, int rows) {
      const auto rows_of = [&](int width) { return run.scratch->template matrix<T>(rows, width); };
      const Matrix<T> own = gathered(run, places, rows, x), out = rows_of(Out::width), dout = rows_of(Out::width);
      const Matrix<T> down = rows_of(In::width);
      Context<T> context = context_of(run, places);
      auto inside = run.template as<mode>();
      inside.context = &context;
      typename Expert::template Saved<mode> again{};
      allocate_saved<Expert, mode>(again, *run.scratch, rows);
      Expert::forward(inside, expert(p, e), again, Matrix<const T>(own), out);
      host_kernel(run.stream, "routed_sum", [&] { split_gradient(routes, places, out, dy, dout, dweight); });
      if constexpr (keeps<Expert, mode>) {
        Expert::backward(inside, expert(p, e), again, Matrix<const T>(dout), dx ? down : Matrix<T>{});
        if (dx)
          host_kernel(run.stream, "routed_sum", [&] {
            for (std::size_t i = 0; i < places.size(); ++i)
              for (int c = 0; c < sum.cols; ++c) sum(places[i].row, c) += to_f32(down(static_cast<int>(i), c));
          });
      }
    });
    backward_router(run, p, x, routes, dweight, sum, dx);
  }

 private:
  using Route = detail::Route<k>;
  /// A row that goes to an expert, as its choice of that number.
  struct Place {
    int row, choice;
  };
  static const Parameter* expert(const Parameter* p, int e) {
    return p + tensor_count<Router> + e * tensor_count<Expert>;
  }
  static std::vector<float> softmax(const float* logits) {
    std::vector<float> p(logits, logits + n);
    const float top = *std::max_element(p.begin(), p.end());
    float sum = 0;
    for (float& value : p) sum += value = std::exp(value - top);
    for (float& value : p) value /= sum;
    return p;
  }
  /// The router's logits of all rows as fp32.
  template <class R, class S, class X>
  static std::vector<float> logits_of(R run, const Parameter* p, S& saved, X x) {
    using T = typename R::T;
    const Matrix<T> logits = run.scratch->template matrix<T>(x.rows, n);
    Router::forward(run, p, saved, x, logits);
    std::vector<float> values;
    host_kernel(run.stream, "route", [&] {
      values.resize(static_cast<std::size_t>(x.rows) * n);
      for (int i = 0; i < x.rows; ++i)
        for (int e = 0; e < n; ++e) values[static_cast<std::size_t>(i) * n + e] = to_f32(logits(i, e));
    });
    return values;
  }
  template <class R, class X>
  static std::vector<Route> routes_of(R run, const Parameter* p, X x) {
    Arena::Scope scope(*run.scratch);
    typename Router::template Saved<typename R::mode> nothing{};
    const std::vector<float> logits = logits_of(run, p, nothing, x);
    std::vector<Route> routes(logits.size() / n);
    for (std::size_t i = 0; i < routes.size(); ++i)
      routes[i] = detail::route_row<k, Top::normalised>(softmax(&logits[i * n]));
    return routes;
  }
  /// run(e, places, rows) for each expert that has rows; in a plan once, with all of them, the most that there can be.
  template <class R, class F>
  static void each_expert(R run, const std::vector<Route>& routes, int all, F f) {
    std::vector<std::vector<Place>> places(n);
    for (std::size_t i = 0; i < routes.size(); ++i)
      for (int j = 0; j < k; ++j)
        places[static_cast<std::size_t>(routes[i].expert[static_cast<std::size_t>(j)])].push_back(
            {static_cast<int>(i), j});
    const InModule experts(run.stream, name::experts::text);
    if constexpr (requires { run.stream.launch(""); }) {
      Arena::Scope scope(*run.scratch);
      f(0, {}, all);
    } else {
      for (int e = 0; e < n; ++e) {
        const auto& own = places[static_cast<std::size_t>(e)];
        if (own.empty()) continue;
        Arena::Scope scope(*run.scratch);
        f(e, own, static_cast<int>(own.size()));
      }
    }
  }
  template <class R, class X>
  static auto gathered(R run, const std::vector<Place>& places, int rows, X x) {
    using T = typename R::T;
    const Matrix<T> own = run.scratch->template matrix<T>(rows, In::width);
    host_kernel(run.stream, "routed_rows", [&] {
      for (std::size_t i = 0; i < places.size(); ++i)
        std::copy_n(x.row(places[i].row), In::width, own.row(static_cast<int>(i)));
    });
    return own;
  }
  /// The tables of an expert's rows: adapters that rows choose go with them.
  template <class R>
  static auto context_of(R run, const std::vector<Place>& places) {
    Context<typename R::T> context = *run.context;
    context.rows = static_cast<int>(places.size());
    if (context.term_slots && !places.empty()) {
      int* slots = run.scratch->template take<int>(places.size());
      for (std::size_t i = 0; i < places.size(); ++i) slots[i] = run.context->term_slots[places[i].row];
      context.term_slots = slots;
    }
    return context;
  }
  template <class T>
  static void add_weighted(const std::vector<Route>& routes, const std::vector<Place>& places, Matrix<T> out,
                           Matrix<float> sum) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      const float weight =
          routes[static_cast<std::size_t>(places[i].row)].weight[static_cast<std::size_t>(places[i].choice)];
      for (int c = 0; c < sum.cols; ++c) sum(places[i].row, c) += weight * to_f32(out(static_cast<int>(i), c));
    }
  }
  /// dout = w dy of an expert's rows, and the gradient of each w: out . dy.
  template <class T, class DY>
  static void split_gradient(const std::vector<Route>& routes, const std::vector<Place>& places, Matrix<T> out, DY dy,
                             Matrix<T> dout, std::vector<std::array<float, k>>& dweight) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto [row, choice] = places[i];
      const auto at = static_cast<std::size_t>(row), j = static_cast<std::size_t>(choice);
      float dot = 0;
      for (int c = 0; c < dout.cols; ++c) {
        dot += to_f32(out(static_cast<int>(i), c)) * to_f32(dy(row, c));
        dout(static_cast<int>(i), c) = round_to<T>(routes[at].weight[j] * to_f32(dy(row, c)));
      }
      dweight[at][j] = dot;
    }
  }
  /// The gradient of a row's logits. w = p / sum_S p: dp_j = (dw_j - sum_i dw_i w_i) / sum_S p; dlogit = p (dp - p.dp).
  static void logit_gradient(const Route& route, const std::array<float, k>& dweight, std::vector<float>& p) {
    std::vector<float> dp(p.size());
    float mean = 0, dot = 0;
    for (std::size_t j = 0; Top::normalised && j < k; ++j) mean += dweight[j] * route.weight[j];
    for (std::size_t j = 0; j < k; ++j) {
      const float own = Top::normalised ? (dweight[j] - mean) / route.sum : dweight[j];
      dp[static_cast<std::size_t>(route.expert[j])] = own;
      dot += own * route.probability[j];
    }
    for (std::size_t e = 0; e < p.size(); ++e) p[e] *= dp[e] - dot;
  }
  template <class R, class DX>
  static void backward_router(R run, const Parameter* p, Matrix<const typename R::T> x,
                              const std::vector<Route>& routes, const std::vector<std::array<float, k>>& dweight,
                              Matrix<float> sum, DX dx) {
    using T = typename R::T;
    using mode = mode_of<0, typename R::mode>;
    const Matrix<T> dlogits = run.scratch->template matrix<T>(x.rows, n);
    const Matrix<T> more = run.scratch->template matrix<T>(x.rows, In::width);
    typename Router::template Saved<mode> again{};
    allocate_saved<Router, mode>(again, *run.scratch, x.rows);
    const std::vector<float> logits = logits_of(run.template as<mode>(), p, again, x);
    host_kernel(run.stream, "route_bwd", [&] {
      for (std::size_t i = 0; i < routes.size(); ++i) {
        std::vector<float> d = softmax(&logits[i * n]);
        logit_gradient(routes[i], dweight[i], d);
        for (int e = 0; e < n; ++e) dlogits(static_cast<int>(i), e) = round_to<T>(d[static_cast<std::size_t>(e)]);
      }
    });
    if constexpr (keeps<Router, mode>)
      Router::backward(run.template as<mode>(), p, again, Matrix<const T>(dlogits), dx ? more : Matrix<T>{});
    if (dx)
      host_kernel(run.stream, "routed_sum", [&] {
        for (int i = 0; i < dx.rows; ++i)
          for (int c = 0; c < dx.cols; ++c)
            dx(i, c) = round_to<T>(sum(i, c) + (keeps<Router, mode> ? to_f32(more(i, c)) : 0.0f));
      });
  }
};

}  // namespace lamina
