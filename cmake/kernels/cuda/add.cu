#include <lamina/kernel/cuda/rows/add.cuh>

namespace lamina::kernel {
LAMINA_CUDA_ADD(template, float);
LAMINA_CUDA_ADD(template, bf16);
LAMINA_CUDA_ADD(template, f16);
}  // namespace lamina::kernel
