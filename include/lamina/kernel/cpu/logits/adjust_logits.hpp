#pragma once
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/logits/adjust_logits.hpp>

template <>
struct lamina::kernel::adjust_logits<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const AdjustLogits<T>& a) {
    parallel_for(a.adjusted.rows, [&](std::int64_t i) {
      const int r = static_cast<int>(i);
      const LogitRule& rule = a.rules[r];
      const auto adjust = [&](int id, const LogitOffset& offset) {
        a.adjusted(r, id) = a.value(rule, to_f32(a.logits(rule.row, id)), id, offset);
      };
      for (int id = 0; id < a.adjusted.cols; ++id) adjust(id, {});
      for (int n = 0; n < rule.offsets; ++n) {
        const LogitOffset& offset = a.offsets[rule.first_offset + n];
        adjust(offset.id, offset);
      }
    });
  }
};
