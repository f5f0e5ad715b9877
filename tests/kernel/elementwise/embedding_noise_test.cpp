#include <lamina/kernel/cpu/elementwise/embedding_noise.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

namespace {
/// The noise of a step on two sequences, of 5 and 11 rows.
std::vector<float> noise_of(std::uint64_t seed, float alpha) {
  constexpr int width = 40;
  const int cu_seqlens[] = {0, 5, 16};
  std::vector<float> x(16 * width, 0.0f);
  embedding_noise<Cpu>::add({}, EmbeddingNoise<float>{.x = Matrix<float>(x.data(), 16, width),
                                                      .cu_seqlens = cu_seqlens,
                                                      .sequences = 2,
                                                      .alpha = alpha,
                                                      .step_seed = &seed});
  return x;
}
float most(const std::vector<float>& x, int first, int last) {
  float m = 0;
  for (int i = first * 40; i < last * 40; ++i) m = std::max(m, std::abs(x[i]));
  return m;
}
}  // namespace

TEST_CASE("embedding_noise: uniform, as large as each sequence's length says, and another in every step") {
  const auto x = noise_of(7, 5), again = noise_of(7, 5), other = noise_of(8, 5);
  CHECK(x == again);
  CHECK(x != other);
  const float small = 5 / std::sqrt(16.0f * 40), large = 5 / std::sqrt(8.0f * 40);  // lengths in multiples of 8
  CHECK(most(x, 0, 5) <= large);
  CHECK(most(x, 0, 5) > 0.95f * large);
  CHECK(most(x, 5, 16) <= small);
  CHECK(most(x, 5, 16) > 0.95f * small);
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v);
  CHECK(std::abs(sum / static_cast<double>(x.size())) < 0.1 * static_cast<double>(small));
}
