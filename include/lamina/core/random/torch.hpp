#pragma once
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

/// PyTorch's CPU generator: the same numbers from the same seed, so that a run here starts from the weights and sees
/// the samples in the order of a run in PyTorch. Measured on PyTorch 2.10; tests/reference/README.md tells how.
namespace lamina {

class TorchGenerator {
 public:
  /// torch.manual_seed: only the low 32 bits count.
  explicit TorchGenerator(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

  std::uint32_t random() { return static_cast<std::uint32_t>(engine_()); }
  void skip(std::uint64_t draws) { engine_.discard(draws); }

  /// One float of tensor.uniform_(low, high). The product and the sum round once, as PyTorch's AVX2 code does.
  float uniform(float low, float high) {
    const float x = static_cast<float>(random() & 0xFFFFFFu) * 0x1p-24f;
    return std::fma(x, high - low, low);
  }

  /// torch.randperm(n), for n below 2^32 / 20.
  std::vector<int> randperm(int n) {
    std::vector<int> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    for (int i = 0; i + 1 < n; ++i) {
      const auto step = static_cast<int>(random() % static_cast<std::uint32_t>(n - i));
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(i + step)]);
    }
    return order;
  }

 private:
  std::mt19937 engine_;
};

/// The bound b of torch.nn.Linear's initial weights, uniform in [-b, b): kaiming_uniform_(a = sqrt(5)). Written as
/// PyTorch writes it, in doubles, because 1 / sqrt(fan_in) ends in another bit.
inline float linear_init_bound(int fan_in) {
  const double a = std::sqrt(5.0);
  const double gain = std::sqrt(2.0 / (1.0 + a * a));
  return static_cast<float>(std::sqrt(3.0) * (gain / std::sqrt(static_cast<double>(fan_in))));
}

}  // namespace lamina
