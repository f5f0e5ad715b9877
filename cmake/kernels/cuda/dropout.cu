#include <lamina/kernel/cuda/rows/dropout.cuh>

namespace lamina::kernel {
LAMINA_CUDA_DROPOUT(template, float);
LAMINA_CUDA_DROPOUT(template, bf16);
LAMINA_CUDA_DROPOUT(template, f16);
}  // namespace lamina::kernel
