#include <lamina/kernel/cuda/rows/optimizer.cuh>

namespace lamina::kernel {
LAMINA_CUDA_OPTIMIZER(template, float);
LAMINA_CUDA_OPTIMIZER(template, bf16);
LAMINA_CUDA_OPTIMIZER(template, f16);
}  // namespace lamina::kernel
