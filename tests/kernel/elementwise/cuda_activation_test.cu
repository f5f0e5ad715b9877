#include <lamina/kernel/cuda/elementwise/activation.cuh>

#include <array>
#include "kernel/cuda_compare.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

namespace {

constexpr std::array<int, 2> sizes[] = {{0, 8}, {1, 1}, {3, 7}, {5, 64}, {17, 100}, {33, 264}, {2, 4104}};

/// Values in [-8, 8), and in the first row ones at which careless formulas overflow or cancel.
template <class T>
RandomMatrix<T> inputs(int rows, int cols, bool aligned) {
  RandomMatrix<T> x(rows, cols, 1, gap(cols, aligned));
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j) x(i, j) = round_to<T>(8 * to_f32(x(i, j)));
  const float extremes[] = {0, -0.0f, 30, -30, 90, -90, 1e4f, -1e4f, 1e-4f, -1e-4f};
  for (int j = 0; rows > 0 && j < std::min(cols, 10); ++j) x(0, j) = round_to<T>(extremes[j]);
  return x;
}

double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
constexpr double c = 1.5957691216057308;

double value(GeluErf, double x) { return x * phi(x); }
double slope(GeluErf, double x) { return phi(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI); }
double value(GeluTanh, double x) { return x * sigmoid(c * (x + 0.044715 * x * x * x)); }
double slope(GeluTanh, double x) {
  const double s = sigmoid(c * (x + 0.044715 * x * x * x));
  return s + x * s * (1 - s) * c * (1 + 3 * 0.044715 * x * x);
}

// fp32 roundings: Phi is within 8e-8 < 2 * 2^-24 of the truth by its formula, and a few operations surround it. An
// exponent u that is off by |u| 2^-22 (its own roundings, and the fast exponential's) moves exp(-u) by |u| exp(-u)
// 2^-22
// <= 0.4 * 2^-22; x times a slope is at most 1.2 in all.
constexpr double steps = 24;

template <class T, class F>
void check_activation(const std::array<int, 2>& size, bool aligned) {
  const auto [rows, cols] = size;
  CAPTURE(rows, cols, aligned);
  gpu().release();
  auto x = inputs<T>(rows, cols, aligned);
  RandomMatrix<T> dy(rows, cols, 2, gap(cols, aligned));
  const auto empty = unwritten<T>(rows, cols, gap(cols, aligned));
  const Matrix<T> on_gpu = upload(x), dy_on_gpu = upload(dy);
  auto y = run_twice(empty, [&](Matrix<T> to) {
    activation<Cuda>::forward(gpu().stream(), F{}, ActivationFwd<T>{.x = on_gpu, .y = to});
  });
  CHECK(count_far(y, steps, [&](int i, int j) {
          const double v = to_f32(x(i, j));
          return Expected{value(F{}, v), std::fabs(v)};
        }) == 0);
  auto dx = run_twice(empty, [&](Matrix<T> to) {
    activation<Cuda>::backward(gpu().stream(), F{}, ActivationBwd<T>{.x = on_gpu, .dy = dy_on_gpu, .dx = to});
  });
  CHECK(count_far(dx, steps, [&](int i, int j) {
          const double d = to_f32(dy(i, j));
          return Expected{d * slope(F{}, to_f32(x(i, j))), 1.2 * std::fabs(d)};
        }) == 0);
}

template <class T>
void check_silu_gate(const std::array<int, 2>& size, bool aligned) {
  const auto [rows, F] = size;
  CAPTURE(rows, F, aligned);
  gpu().release();
  auto x = inputs<T>(rows, 2 * F, aligned);
  RandomMatrix<T> dy(rows, F, 2, gap(F, aligned));
  const Matrix<T> on_gpu = upload(x), dy_on_gpu = upload(dy);
  auto y = run_twice(unwritten<T>(rows, F, gap(F, aligned)), [&](Matrix<T> to) {
    silu_gate<Cuda>::forward(gpu().stream(), SiluGateFwd<T>{.x = on_gpu, .y = to});
  });
  CHECK(count_far(y, steps, [&](int i, int j) {
          const double gate = to_f32(x(i, j)), up = to_f32(x(i, F + j));
          return Expected{gate * sigmoid(gate) * up, std::fabs(gate * up)};
        }) == 0);
  auto dx = run_twice(unwritten<T>(rows, 2 * F, gap(2 * F, aligned)), [&](Matrix<T> to) {
    silu_gate<Cuda>::backward(gpu().stream(), SiluGateBwd<T>{.x = on_gpu, .dy = dy_on_gpu, .dx = to});
  });
  CHECK(count_far(dx, steps, [&](int i, int j) {
          const double gate = to_f32(x(i, j % F)), up = to_f32(x(i, F + j % F)), d = to_f32(dy(i, j % F));
          const double s = sigmoid(gate), dgate = d * up * (s + gate * s * (1 - s));
          return j < F ? Expected{dgate, 1.2 * std::fabs(d * up)} : Expected{d * gate * s, std::fabs(d * gate)};
        }) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("activation on CUDA: GELU, its tanh form and their slopes equal the formulas", "", float, bf16,
                   f16) {
  for (const auto& size : sizes)
    for (const bool aligned : {false, true}) {
      check_activation<TestType, GeluErf>(size, aligned);
      check_activation<TestType, GeluTanh>(size, aligned);
    }
}
TEMPLATE_TEST_CASE("silu_gate on CUDA: forward and backward equal the formulas", "", float, bf16, f16) {
  for (const auto& size : sizes)
    for (const bool aligned : {false, true}) check_silu_gate<TestType>(size, aligned);
}
