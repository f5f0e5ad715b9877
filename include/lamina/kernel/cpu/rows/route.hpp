#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/rows/route.hpp>

template <>
struct lamina::kernel::route<lamina::Cpu> {
  template <class T>
  static void choose(Stream<Cpu>, const RouteChoose<T>& a);
  static void sort(Stream<Cpu>, const RouteSort& a) {
    std::fill_n(a.ends, a.experts, 0);
    const int choices = a.rows * a.k;
    for (int i = 0; i < choices; ++i) ++a.ends[a.expert[i]];
    std::exclusive_scan(a.ends, a.ends + a.experts, a.ends, 0);  // where experts begin; counted up they end
    for (int i = 0; i < choices; ++i) a.source[a.place[i] = a.ends[a.expert[i]]++] = i / a.k;
  }
  template <class T>
  static void sum(Stream<Cpu>, const RouteSums<T>& a);
  template <class T>
  static void combine(Stream<Cpu>, const RouteCombine<T>& a);
  template <class T>
  static void split(Stream<Cpu>, const RouteSplit<T>& a);
  template <class T>
  static void backward(Stream<Cpu>, const RouteBwd<T>& a);

 private:
  static Eigen::ArrayXf softmax(const auto& logits) {
    const Eigen::ArrayXf e = (logits - logits.maxCoeff()).exp();
    return e / e.sum();
  }
  /// What each expert's probability in a row adds to the balancing loss.
  static Eigen::ArrayXf slope(const AuxiliarySums& balance, int row, int n, int k) {
    const ConstArray chosen(balance.sums + std::ptrdiff_t{balance.part_of(row)} * balance.each, n);
    const float rows = chosen.sum() / static_cast<float>(k);
    return balance.weight * static_cast<float>(n) / (rows * rows) * chosen;
  }
};

template <class T>
void lamina::kernel::route<lamina::Cpu>::choose(Stream<Cpu>, const RouteChoose<T>& a) {
  parallel_for(a.logits.rows, [&](std::int64_t r) {
    const Eigen::ArrayXf p = softmax(array_of(a.logits, r));
    std::vector<int> order(static_cast<std::size_t>(p.size()));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + a.k, order.end(),
                      [&](int x, int y) { return p[x] != p[y] ? p[x] > p[y] : x < y; });
    float sum = 0;
    for (int c = 0; c < a.k; ++c) sum += p[a.expert[r * a.k + c] = order[static_cast<std::size_t>(c)]];
    for (int c = 0; c < a.k; ++c)
      a.weight[r * a.k + c] = p[order[static_cast<std::size_t>(c)]] / (a.normalised ? sum : 1);
  });
}

template <class T>
void lamina::kernel::route<lamina::Cpu>::sum(Stream<Cpu>, const RouteSums<T>& a) {
  const int n = a.logits.cols;
  parallel_for(a.to.parts, [&](std::int64_t part) {
    float* const chosen = a.to.sums + part * a.to.each;
    MutableArray probability(chosen + n, n);
    for (int r = a.to.cu_parts[part]; r < a.to.cu_parts[part + 1]; ++r) {
      for (int c = 0; c < a.k; ++c) ++chosen[a.expert[std::ptrdiff_t{r} * a.k + c]];
      probability += softmax(array_of(a.logits, r));
    }
  });
}

template <class T>
void lamina::kernel::route<lamina::Cpu>::combine(Stream<Cpu>, const RouteCombine<T>& a) {
  parallel_for(a.y.rows, [&](std::int64_t r) {
    Eigen::ArrayXf sum = Eigen::ArrayXf::Zero(a.y.cols);
    for (std::int64_t i = r * a.k; i < (r + 1) * a.k; ++i)
      sum += (a.weight ? a.weight[i] : 1) * array_of(a.sorted, a.place[i]);
    if (a.beta != 0) sum += a.beta * array_of(a.y, r);
    store(a.y, r, sum);
  });
}

template <class T>
void lamina::kernel::route<lamina::Cpu>::split(Stream<Cpu>, const RouteSplit<T>& a) {
  parallel_for(a.dy.rows, [&](std::int64_t r) {
    for (std::int64_t i = r * a.k; i < (r + 1) * a.k; ++i) {
      a.dweight[i] = (array_of(a.sorted, a.place[i]) * array_of(a.dy, r)).sum();
      store(a.dsorted, a.place[i], a.weight[i] * array_of(a.dy, r));
    }
  });
}

template <class T>
void lamina::kernel::route<lamina::Cpu>::backward(Stream<Cpu>, const RouteBwd<T>& a) {
  parallel_for(a.logits.rows, [&](std::int64_t r) {
    const Eigen::ArrayXf p = softmax(array_of(a.logits, r));
    const int* const expert = a.expert + r * a.k;
    const ConstArray w(a.weight + r * a.k, a.k), dw(a.dweight + r * a.k, a.k);
    float chosen = 0, dot = 0;
    for (int c = 0; c < a.k; ++c) chosen += p[expert[c]];
    const Eigen::ArrayXf dp = a.normalised ? Eigen::ArrayXf((dw - (dw * w).sum()) / chosen) : Eigen::ArrayXf(dw);
    for (int c = 0; c < a.k; ++c) dot += dp[c] * p[expert[c]];
    Eigen::ArrayXf d = -dot * p;
    if (a.balance.sums) {
      const Eigen::ArrayXf b = slope(a.balance, static_cast<int>(r), a.logits.cols, a.k);
      d += p * (b - (b * p).sum());
    }
    for (int c = 0; c < a.k; ++c) d[expert[c]] += dp[c] * p[expert[c]];
    store(a.dlogits, r, d);
  });
}
