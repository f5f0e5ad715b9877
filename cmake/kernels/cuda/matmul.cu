#include <lamina/kernel/cuda/matmul/matmul.cuh>

namespace lamina::kernel {
LAMINA_CUDA_MATMUL(template, float);
LAMINA_CUDA_MATMUL(template, bf16);
LAMINA_CUDA_MATMUL(template, f16);
}  // namespace lamina::kernel
