#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <lamina/core/random/philox.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/logits/sample.hpp>

template <>
struct lamina::kernel::sample<lamina::Cpu> {
  template <class T>
  static void rows(Stream<Cpu>, const SampleRows<T>& a);

 private:
  static constexpr float excluded = -std::numeric_limits<float>::infinity();
  /// The largest of logits (vocab), or what stands for none. adjusted: some may be excluded.
  template <class T>
  static int best_of(const T* logits, int vocab, bool adjusted) {
    int best = 0;
    for (int id = 0; id < vocab; ++id) {
      const float x = to_f32(logits[id]);
      if (!std::isfinite(x) && !(adjusted && x == excluded)) return SampleRows<T>::not_finite;
      if (x > to_f32(logits[best])) best = id;
    }
    return to_f32(logits[best]) == excluded ? SampleRows<T>::none_left : best;
  }
  /// Draw number `chosen` from logits (vocab).
  template <class T>
  static int choose(const T* logits, int vocab, bool adjusted, const SamplingRule& rule, int chosen) {
    const SampleOrder order = order_of(rule);
    const auto logit = [&](int id) { return to_f32(logits[id]); };
    const int best = best_of(logits, vocab, adjusted);
    if (best < 0 || order == SampleOrder::best_alone) return best;
    std::vector<int> ids(static_cast<std::size_t>(vocab));
    std::iota(ids.begin(), ids.end(), 0);
    if (order == SampleOrder::by_probability) {
      const int weighed = rule.top_k > 0 ? std::min(rule.top_k, vocab) : vocab;
      const auto before = [&](int x, int y) { return logit(x) != logit(y) ? logit(x) > logit(y) : x < y; };
      std::nth_element(ids.begin(), ids.begin() + weighed, ids.end(), before);
      std::sort(ids.begin(), ids.begin() + weighed, before);
    }
    std::vector<std::uint64_t> sum(ids.size());  // of the weights up to a place
    std::uint64_t mass = 0;
    for (int place = 0; place < vocab; ++place) {
      const auto at = static_cast<std::size_t>(place);
      sum[at] = mass += detail::sample_weight(rule, order, logit(ids[at]) - logit(best), place);
    }
    const auto first_above = [&](std::uint64_t target) { return std::upper_bound(sum.begin(), sum.end(), target); };
    if (order == SampleOrder::by_probability) mass = *first_above(detail::nucleus_mass(rule, mass) - 1);
    const double u = uniform(rule.seed, rule.stream, static_cast<std::uint64_t>(chosen));
    const auto place = first_above(detail::sample_target(u, mass)) - sum.begin();
    return ids[static_cast<std::size_t>(place)];
  }
};

template <class T>
void lamina::kernel::sample<lamina::Cpu>::rows(Stream<Cpu>, const SampleRows<T>& a) {
  parallel_for(a.logits.rows, [&](std::int64_t i) {
    const int s = static_cast<int>(i), vocab = a.logits.cols, source = a.source(s);
    if (a.rows[s] < 0)
      a.told[s] = -1;
    else if (source < 0)
      a.told[s] = choose(a.logits.row(s), vocab, false, a.rules[s], a.chosen[s]);
    else
      a.told[s] = choose(a.adjusted.row(source), vocab, true, a.rules[s], a.chosen[s]);
    if (a.rows[s] >= 0) a.newest[a.rows[s]] = std::max(a.told[s], -1);
  });
}
