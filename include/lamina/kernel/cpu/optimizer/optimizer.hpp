#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/optimizer/at_random.hpp>
#include <lamina/kernel/optimizer/dynamic_map.hpp>
#include <lamina/kernel/optimizer/optimizer.hpp>
#include <lamina/kernel/optimizer/rules.hpp>

template <>
struct lamina::kernel::optimizer<lamina::Cpu> {
  static void clip(Stream<Cpu>, const ClipGradients& a) {
    double sum_sq = 0;
    for (std::size_t i = 0; i < a.n; ++i) sum_sq += static_cast<double>(a.g[i]) * static_cast<double>(a.g[i]);
    a.clip->norm = std::sqrt(sum_sq);
    a.clip->scale = std::isfinite(a.clip->norm) ? static_cast<float>(clip_scale(a.clip->norm, a.numbers->most)) : 0;
  }
  static void clipped(Stream<Cpu>, Clip* clip) { clip->scale = 1; }
  static void join(Stream<Cpu>, const JoinClips& a) { *a.clip = joined(a); }
  template <class T>
  static void update(Stream<Cpu>, OptimizerKind kind, const UpdateStep<T>& a);
  template <class T>
  static void update_8bit(Stream<Cpu>, OptimizerKind kind, const UpdateStep8Bit<T>& a);
  template <class T>
  static void update_bf16(Stream<Cpu>, OptimizerKind kind, const UpdateStepBf16<T>& a);
  static void adafactor(Stream<Cpu>, const AdafactorTensor& a);
  static std::size_t adafactor_bytes(const AdafactorTensor&) { return 0; }
  static void muon(Stream<Cpu>, const MuonTensor&);  // muon.hpp
  static std::size_t muon_bytes(const MuonTensor&);
};

namespace lamina::kernel::cpu {

/// Updates n neighbours from the run's k-th on.
template <class Rule, class T>
void update_values(const ValueRun<T>& run, const OptimizerNumbers& o, int k, int n, float scale, float* w_at,
                   float* g_at, MutableArray m, MutableArray v) {
  MutableArray w(w_at + run.first + k, n), g(g_at + run.first + k, n);
  Rule::update(w, g * scale, m, v, o, run.rate, run.decays ? 1 - run.rate * (1 - o.decay) : 1.0f);
  g = 0;
  for (int i = 0; run.to && i < n; ++i) *run.copy(k + i) = round_to<T>(run.scale * w[i]);
}

/// A block of moments: widened, and rounded again.
struct MomentBlock {
  std::uint8_t* codes;
  float* most;
  const float* values;
  std::array<float, dynamic_block> wide;

  void read(int n) {
    for (int i = 0; i < n; ++i) wide[i] = values[codes[i]] * *most;
  }
  void write(int n, bool with_signs) {
    *most = 0;
    for (int i = 0; i < n; ++i) *most = std::max(*most, std::abs(wide[i]));
    for (int i = 0; i < n; ++i) {
      const float x = *most > 0 ? wide[i] / *most : 0.0f;
      codes[i] = static_cast<std::uint8_t>(with_signs ? nearest_signed_code(x, values) : nearest_code(x, values));
    }
  }
};

}  // namespace lamina::kernel::cpu

template <class T>
void lamina::kernel::optimizer<lamina::Cpu>::update(Stream<Cpu>, OptimizerKind kind, const UpdateStep<T>& a) {
  if (!std::isfinite(a.clip->norm)) return;
  with_rule(kind, [&]<class Rule>(Rule) {
    parallel_for(a.count, [&, o = *a.numbers, scale = a.clip->scale](std::int64_t i) {
      const ValueRun<T>& run = a.runs[i];
      const auto moments = [&](float* p) { return MutableArray(p ? p + run.state : nullptr, p ? run.count : 0); };
      cpu::update_values<Rule>(run, o, 0, run.count, scale, a.w, a.g, moments(a.m), moments(a.v));
    });
  });
}

template <class T>
void lamina::kernel::optimizer<lamina::Cpu>::update_8bit(Stream<Cpu>, OptimizerKind kind, const UpdateStep8Bit<T>& a) {
  if (!std::isfinite(a.clip->norm)) return;
  with_rule(kind, [&]<class Rule>(Rule) {
    parallel_for(a.count, [&, o = *a.numbers, scale = a.clip->scale](std::int64_t i) {
      const ValueRun<T>& run = a.runs[i];
      for (int k = 0; k < run.count; k += dynamic_block) {
        const int n = std::min(dynamic_block, run.count - k);
        const std::size_t at = run.state + static_cast<std::size_t>(k), block = at / dynamic_block;
        cpu::MomentBlock m{a.m + at, a.m_most + block, a.m_codes, {}}, v{a.v + at, a.v_most + block, a.v_codes, {}};
        m.read(n);
        if (Rule::moments > 1) v.read(n);
        cpu::update_values<Rule>(run, o, k, n, scale, a.w, a.g, MutableArray(m.wide.data(), n),
                                 MutableArray(v.wide.data(), n));
        m.write(n, true);
        if (Rule::moments > 1) v.write(n, false);
      }
    });
  });
}

template <class T>
void lamina::kernel::optimizer<lamina::Cpu>::update_bf16(Stream<Cpu>, OptimizerKind kind, const UpdateStepBf16<T>& a) {
  if (!std::isfinite(a.clip->norm)) return;
  with_rule(kind, [&]<class Rule>(Rule) {
    parallel_for(a.count, [&](std::int64_t i) {
      for (int k = 0; k < a.runs[i].count; ++k) update_value<Rule>(a, *a.numbers, a.runs[i], k);
    });
  });
}

inline void lamina::kernel::optimizer<lamina::Cpu>::adafactor(Stream<Cpu>, const AdafactorTensor& a) {
  if (!std::isfinite(a.clip->norm)) return;
  using Rows = Eigen::Map<RowMajorArray>;
  using Values = Eigen::Map<Eigen::ArrayXf>;
  const OptimizerNumbers o = *a.numbers;
  const std::size_t each = static_cast<std::size_t>(a.rows) * static_cast<std::size_t>(a.cols);
  double squares = 0;
  for (int i = 0; i < a.matrices; ++i) {
    Rows g(a.g + static_cast<std::size_t>(i) * each, a.rows, a.cols);
    g *= a.clip->scale;
    if (a.all) {
      Rows all(a.all + static_cast<std::size_t>(i) * each, a.rows, a.cols);
      all = o.b2 * all + o.rest2 * (g.square() + adafactor_eps);
      g *= all.rsqrt();
    } else {
      Values row(a.row + std::ptrdiff_t{i} * a.rows, a.rows), col(a.col + std::ptrdiff_t{i} * a.cols, a.cols);
      row = o.b2 * row + o.rest2 * (g.square() + adafactor_eps).rowwise().mean();
      col = o.b2 * col + o.rest2 * (g.square() + adafactor_eps).colwise().mean().transpose();
      const float mean = row.mean();
      g.colwise() *= (row / mean).rsqrt();
      g.rowwise() *= col.rsqrt().transpose();
    }
    squares += static_cast<double>(g.matrix().squaredNorm());
  }
  const auto rms = static_cast<float>(std::sqrt(squares / static_cast<double>(a.count())));
  Values(a.g, static_cast<std::ptrdiff_t>(a.count())) /= std::max(1.0f, rms);
}

#include <lamina/kernel/cpu/optimizer/muon.hpp>
