#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/logits/logprobs.hpp>

template <>
struct lamina::kernel::logprobs<lamina::Cpu> {
  template <class T>
  static void rows(Stream<Cpu>, const Logprobs<T>& a) {
    parallel_for(a.logits.rows, [&](std::int64_t i) {
      const int s = static_cast<int>(i);
      if (a.alternatives[s] >= 0) a.out[s] = of_row(a.logits.row(s), a.logits.cols, a.token(s), a.alternatives[s]);
    });
  }

 private:
  template <class T>
  static RowLogprobs of_row(const T* logits, int vocab, int token, int alternatives) {
    std::vector<float> x(static_cast<std::size_t>(vocab));
    std::transform(logits, logits + vocab, x.begin(), [](T v) { return to_f32(v); });
    RowLogprobs out;
    const float largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const float v : x) sum += std::isfinite(v) ? std::exp(double{v} - largest) : NAN;
    out.log_sum = largest + std::log(sum);
    if (token >= 0) {
      out.logit = x[static_cast<std::size_t>(token)];
      out.rank = 1 + static_cast<int>(std::count_if(x.begin(), x.end(), [&](float v) { return v > out.logit; }));
    }
    std::vector<int> ids(x.size());
    std::iota(ids.begin(), ids.end(), 0);
    const auto value = [&](int id) { return x[static_cast<std::size_t>(id)]; };
    const int count = std::min(alternatives, vocab);
    std::partial_sort(ids.begin(), ids.begin() + count, ids.end(),
                      [&](int l, int r) { return value(l) != value(r) ? value(l) > value(r) : l < r; });
    for (int i = 0; i < count; ++i) out.ids[i] = ids[static_cast<std::size_t>(i)], out.logits[i] = value(out.ids[i]);
    return out;
  }
};
