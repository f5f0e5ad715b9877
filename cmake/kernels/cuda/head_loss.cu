#include <lamina/kernel/cuda/matmul/head_loss.cuh>

namespace lamina::kernel {
LAMINA_CUDA_HEAD_LOSS(template, float);
LAMINA_CUDA_HEAD_LOSS(template, bf16);
LAMINA_CUDA_HEAD_LOSS(template, f16);
}  // namespace lamina::kernel
