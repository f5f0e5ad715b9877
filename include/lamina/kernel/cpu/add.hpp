#pragma once
#include <cstring>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/add.hpp>

template <>
struct lamina::kernel::add<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, Add<T> a);
  template <class T>
  static void copy(Stream<Cpu>, Add<T> a);
};

template <class T>
void lamina::kernel::add<lamina::Cpu>::forward(Stream<Cpu>, Add<T> a) {
  parallel_for(a.x.rows, [=](std::int64_t n) {
    for (int i = 0; i < a.x.cols; ++i) a.y(n, i) = round_to<T>(to_f32(a.y(n, i)) + to_f32(a.x(n, i)));
  });
}
template <class T>
void lamina::kernel::add<lamina::Cpu>::copy(Stream<Cpu>, Add<T> a) {
  parallel_for(a.x.rows, [=](std::int64_t n) { std::memcpy(a.y.row(n), a.x.row(n), sizeof(T) * a.x.cols); });
}
