#include <lamina/kernel/cuda/attention/cache.cuh>

namespace lamina::kernel {
LAMINA_CUDA_CACHE(template, float);
LAMINA_CUDA_CACHE(template, bf16);
LAMINA_CUDA_CACHE(template, f16);
}  // namespace lamina::kernel
