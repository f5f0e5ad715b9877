#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <lamina/core/dtype.hpp>
#include <lamina/core/philox.hpp>
#include <lamina/kernel/sample.hpp>

template <>
struct lamina::kernel::sample<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const Sample<T>& a);

 private:
  template <class T>
  static int choose(const Sample<T>& a) {
    const auto logit = [&](int id) { return to_f32(a.logits[id]); };
    int best = 0;
    for (int id = 0; id < a.vocab; ++id) {
      if (!std::isfinite(logit(id))) return -1;
      if (logit(id) > logit(best)) best = id;
    }
    if (a.order == SampleOrder::best_alone) return best;
    std::vector<int> ids(static_cast<std::size_t>(a.vocab));
    std::iota(ids.begin(), ids.end(), 0);
    if (a.order == SampleOrder::by_probability) {
      const int weighed = a.rule->top_k > 0 ? std::min(a.rule->top_k, a.vocab) : a.vocab;
      const auto before = [&](int x, int y) { return logit(x) != logit(y) ? logit(x) > logit(y) : x < y; };
      std::nth_element(ids.begin(), ids.begin() + weighed, ids.end(), before);
      std::sort(ids.begin(), ids.begin() + weighed, before);
    }
    std::vector<std::uint64_t> sum(ids.size());  // of the weights up to a place
    std::uint64_t mass = 0;
    for (int place = 0; place < a.vocab; ++place) {
      const auto at = static_cast<std::size_t>(place);
      sum[at] = mass += detail::sample_weight(*a.rule, a.order, logit(ids[at]) - logit(best), place);
    }
    const auto first_above = [&](std::uint64_t target) { return std::upper_bound(sum.begin(), sum.end(), target); };
    if (a.order == SampleOrder::by_probability) mass = *first_above(detail::nucleus_mass(*a.rule, mass) - 1);
    const double u = uniform(a.rule->seed, a.rule->stream, static_cast<std::uint64_t>(a.state->chosen));
    const auto place = first_above(detail::sample_target(u, mass)) - sum.begin();
    return ids[static_cast<std::size_t>(place)];
  }
};

template <class T>
void lamina::kernel::sample<lamina::Cpu>::forward(Stream<Cpu>, const Sample<T>& a) {
  const int id = choose(a);
  a.told[a.state->chosen % 2] = id;
  a.state->move_on(id);
}
