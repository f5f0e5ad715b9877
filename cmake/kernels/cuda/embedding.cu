#include <lamina/kernel/cuda/rows/embedding.cuh>

namespace lamina::kernel {
LAMINA_CUDA_EMBEDDING(template, float);
LAMINA_CUDA_EMBEDDING(template, bf16);
LAMINA_CUDA_EMBEDDING(template, f16);
}  // namespace lamina::kernel
