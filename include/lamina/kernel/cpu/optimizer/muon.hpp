#pragma once
#include <lamina/core/arena.hpp>
#include <lamina/kernel/cpu/matmul/matmul.hpp>
#include <lamina/kernel/cpu/optimizer/optimizer.hpp>

#include <cmath>
#include <utility>

namespace lamina::kernel::cpu {

inline float rounded_bf16(float x) { return to_f32(round_to<bf16>(x)); }

/// Rounds each element of f(i) to bf16.
inline void round_each(const Matrix<float>& to, auto f) {
  const std::ptrdiff_t count = std::ptrdiff_t{to.rows} * to.cols;
  for (std::ptrdiff_t i = 0; i < count; ++i) to.data[i] = rounded_bf16(f(i));
}
inline Weight as_factor(const Matrix<float>& w) { return {w.data, DType::F32, w.rows, w.cols, w.stride}; }

/// x = a x + (b A + (c A) A) x with A = x x^T, every result rounded to bf16 as torch rounds it.
inline void newton_schulz(Stream<Cpu> s, const Matrix<float>& x, const Matrix<float>& y, const Matrix<float>& square,
                          const Matrix<float>& scaled, const Matrix<float>& sum) {
  using M = MuonTensor;
  matmul<Cpu>::forward<float>(s, {.x = x, .w = as_factor(x), .y = square});
  round_each(square, [&](auto i) { return square.data[i]; });
  round_each(scaled, [&](auto i) { return M::c * square.data[i]; });
  matmul<Cpu>::backward_input<float>(s, {.dy = scaled, .w = as_factor(square), .dx = sum});
  round_each(sum, [&](auto i) { return rounded_bf16(M::b * square.data[i]) + rounded_bf16(sum.data[i]); });
  matmul<Cpu>::backward_input<float>(s, {.dy = sum, .w = as_factor(x), .dx = y});
  round_each(x, [&](auto i) { return rounded_bf16(M::a * x.data[i]) + rounded_bf16(y.data[i]); });
}

}  // namespace lamina::kernel::cpu

inline void lamina::kernel::optimizer<lamina::Cpu>::muon(Stream<Cpu> s, const MuonTensor& t) {
  if (!std::isfinite(t.clip->norm)) return;
  Arena::Scope scope(*t.work);
  const int rows = std::min(t.rows, t.cols), cols = std::max(t.rows, t.cols);
  const auto x = t.work->matrix<float>(rows, cols), y = t.work->matrix<float>(rows, cols),
             square = t.work->matrix<float>(rows, rows), scaled = t.work->matrix<float>(rows, rows),
             sum = t.work->matrix<float>(rows, rows);
  // The place in x of element i of the gradient.
  const auto place = [&](std::ptrdiff_t i) { return t.rows <= t.cols ? i : i % t.cols * cols + i / t.cols; };
  const std::ptrdiff_t count = std::ptrdiff_t{rows} * cols;
  double squares = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const float g = t.g[i] * t.clip->scale, m = t.m[i] = MuonTensor::momentum * t.m[i] + g;
    const float first = cpu::rounded_bf16(g + MuonTensor::momentum * m);
    x.data[place(i)] = first;
    squares += double{first} * first;
  }
  const float norm = cpu::rounded_bf16(cpu::rounded_bf16(static_cast<float>(std::sqrt(squares))) + MuonTensor::eps);
  cpu::round_each(x, [&](auto i) { return x.data[i] / norm; });
  for (int i = 0; i < MuonTensor::iterations; ++i) cpu::newton_schulz(s, x, y, square, scaled, sum);
  for (std::ptrdiff_t i = 0; i < count; ++i) t.g[i] = t.scale() * x.data[place(i)];
}
inline std::size_t lamina::kernel::optimizer<lamina::Cpu>::muon_bytes(const MuonTensor& t) {
  const auto rows = static_cast<std::size_t>(std::min(t.rows, t.cols)), count = t.count();
  Arena counting;
  for (const std::size_t n : {count, count, rows * rows, rows * rows, rows * rows}) counting.take<float>(n);
  return counting.used_bytes();
}
