#pragma once
#include <cstring>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/elementwise/add.hpp>

template <>
struct lamina::kernel::add<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const Add<T>& a);
  template <class T>
  static void copy(Stream<Cpu>, const Add<T>& a);
};

template <class T>
void lamina::kernel::add<lamina::Cpu>::forward(Stream<Cpu>, const Add<T>& a) {
  parallel_for(a.x.rows, [&](std::int64_t n) { store(a.y, n, array_of(a.y, n) + array_of(a.x, n)); });
}
template <class T>
void lamina::kernel::add<lamina::Cpu>::copy(Stream<Cpu>, const Add<T>& a) {
  parallel_for(a.x.rows, [&](std::int64_t n) { std::memcpy(a.y.row(n), a.x.row(n), sizeof(T) * a.x.cols); });
}
