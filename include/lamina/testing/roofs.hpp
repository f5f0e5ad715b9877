#pragma once
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/elementwise/add.hpp>
#include <lamina/kernel/matmul/matmul.hpp>
#include <lamina/testing/roof.hpp>

/// What a backend can do at most, measured once a run.
namespace lamina::testing {

struct Roofs {
  double flop_per_s = 0, bytes_per_s = 0;
};

/// The device on which benchmarks run.
template <Backend B>
Device<B>& bench_device() {
  static Device<B> device;
  return device;
}

namespace detail {
/// A GPU's: the best of large products in T, and of copies of a block that no cache holds, read and written.
template <class T, Backend B>
Roofs device_roofs() {
  constexpr int n = 8192;
  Device<B>& device = bench_device<B>();
  Arena block(4 * sizeof(T) * n * n, Memory<B>{}), scratch(std::size_t{256} << 20, Memory<B>{});
  const auto matrix = [&] { return block.template matrix<T>(n, n); };
  const Matrix<T> x = matrix(), w = matrix(), y = matrix();
  Memory<B>::zero(device.stream(), x.data, 3 * sizeof(T) * n * n);
  const auto best = [&](auto once) {
    once(), device.wait();
    return best_seconds(5,
                        [&] {
                          for (int i = 0; i < 4; ++i) once();
                          device.wait();
                        }) /
           4;
  };
  const double product = best([&] {
    kernel::matmul<B>::forward(device.stream(&scratch),
                               kernel::MatmulFwd<T>{.x = x, .w = {w.data, dtype_of<T>, n, n, n}, .y = y});
  });
  const double copy = best([&] { kernel::add<B>::copy(device.stream(&scratch), kernel::Add<T>{.x = x, .y = y}); });
  return {2.0 * n * n * n / product, 2.0 * sizeof(T) * n * n / copy};
}
}  // namespace detail

/// Those of a CPU are roof.hpp's.
template <class T, Backend B>
const Roofs& roofs() {
  static const Roofs measured = [] {
    if constexpr (Device<B>::runs_ahead)
      return detail::device_roofs<T, B>();
    else
      return Roofs{peak_flop_per_s(false), read_bytes_per_s()};
  }();
  return measured;
}

}  // namespace lamina::testing
