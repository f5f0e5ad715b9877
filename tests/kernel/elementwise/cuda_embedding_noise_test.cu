#include <lamina/kernel/cpu/elementwise/embedding_noise.hpp>
#include <lamina/kernel/cuda/elementwise/embedding_noise.cuh>

#include "kernel/cuda_compare.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

TEMPLATE_TEST_CASE("embedding_noise on CUDA: what the CPU adds", "", float, bf16, f16) {
  using T = TestType;
  gpu().release();
  RandomMatrix<T> x(37, 300, 1);
  const std::vector<int> cu_seqlens = {0, 1, 20, 37};
  const std::uint64_t seed = 12345;
  EmbeddingNoise<T> a{.x = upload(x)};
  a.cu_seqlens = gpu().upload(cu_seqlens), a.sequences = 3, a.alpha = 5;
  a.step_seed = gpu().upload(std::vector<std::uint64_t>{seed});
  embedding_noise<Cuda>::add(gpu().stream(), a);
  auto got = download(a.x, x);
  EmbeddingNoise<T> b{.x = x, .cu_seqlens = cu_seqlens.data(), .sequences = 3, .alpha = 5, .step_seed = &seed};
  embedding_noise<Cpu>::add({}, b);
  CHECK(count_far(got, 4, [&](int i, int j) {
          const double want = to_f32(x(i, j));
          return Expected{want, std::fabs(want) + 1};
        }) == 0);
}
