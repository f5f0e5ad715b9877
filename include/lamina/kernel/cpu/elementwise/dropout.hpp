#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/kernel/elementwise/dropout.hpp>

template <>
struct lamina::kernel::dropout<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, DropoutMask mask, const Dropout<T>& a);
};

template <class T>
void lamina::kernel::dropout<lamina::Cpu>::forward(Stream<Cpu>, DropoutMask mask, const Dropout<T>& a) {
  parallel_for(a.x.rows, [a, mask = mask.of_step()](std::int64_t n) {
    for (int i = 0; i < a.x.cols; ++i)
      a.y(n, i) = round_to<T>(to_f32(a.x(n, i)) * mask.factor(static_cast<std::uint64_t>(n) * a.x.cols + i));
  });
}
