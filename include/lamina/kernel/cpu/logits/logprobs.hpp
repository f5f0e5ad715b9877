#pragma once
#include <algorithm>
#include <vector>

#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/logits/logprobs.hpp>
#include <lamina/kernel/logits/row_logprobs.hpp>

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
    out.log_sum = log_sum_exp(x);
    if (token >= 0) {
      out.logit = x[static_cast<std::size_t>(token)];
      out.rank = rank_among(x, out.logit);
    }
    const auto count = static_cast<std::size_t>(std::min(alternatives, vocab));
    const std::vector<int> ids = largest_logits(x, count);
    for (std::size_t i = 0; i < count; ++i) out.ids[i] = ids[i], out.logits[i] = x[static_cast<std::size_t>(ids[i])];
    return out;
  }
};
