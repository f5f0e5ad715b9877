#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <lamina/testing/layer_run.hpp>

/// Whether a module computes the same on two backends. The kernels of both must be included by the caller:
/// <lamina/kernel/cpu.hpp>, and <lamina/kernel/cuda.hpp> in a program that links lamina::cuda_kernels.
namespace lamina::testing {

struct BackendReport {
  struct Quantity {
    std::string name;  ///< "y", "dx", or the checkpoint name of a parameter whose gradient it is
    double distance;   ///< |other - CPU| / |CPU|, Euclidean norms
  };
  std::vector<Quantity> quantities;
  double tolerance = 0;

  bool passed() const { return wrong().empty(); }
  std::vector<std::string> wrong() const {
    std::vector<std::string> names;
    for (const Quantity& q : quantities)
      if (!(q.distance <= tolerance)) names.push_back(q.name);
    return names;
  }
  std::string text() const {
    std::string lines;
    for (const Quantity& q : quantities)
      lines += cat(q.name, ": ", q.distance, q.distance <= tolerance ? "\n" : "  DIFFERS\n");
    return lines;
  }
};

/// A distance that rounding explains: a module of some ten layers rounds to T as often, and sums a few thousand terms.
template <class T>
inline constexpr double backend_tolerance = std::is_same_v<T, float>  ? 1e-4
                                            : std::is_same_v<T, bf16> ? 0x1p-5
                                                                      : 0x1p-8;

/// Runs L's forward and backward in fp32 on the CPU and in T on B, on the same numbers.
template <class L, class T = bf16, Backend B = Cuda>
BackendReport check_backends(LayerRunOptions options = {}, double tolerance = backend_tolerance<T>) {
  options.values = dtype_of<T>;
  Device<Cpu> host;
  Device<B> device;
  const LayerResults wanted = LayerRun<L, float, Cpu>(host, options).results();
  const LayerResults found = LayerRun<L, T, B>(device, options).results();
  BackendReport report{.quantities = {}, .tolerance = tolerance};
  const auto compare = [&](const std::string& name, const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double x = a[i], y = b[i];
      difference += (x - y) * (x - y), norm += x * x;
    }
    report.quantities.push_back({name, std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30)});
  };
  compare("y", wanted.y, found.y), compare("dx", wanted.dx, found.dx);
  for (std::size_t i = 0; i < wanted.gradients.size(); ++i)
    compare(wanted.gradients[i].first, wanted.gradients[i].second, found.gradients[i].second);
  return report;
}

}  // namespace lamina::testing
