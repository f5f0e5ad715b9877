#include <lamina/kernel/cuda/rows/rows.cuh>

namespace lamina::kernel {
LAMINA_CUDA_ROWS(template, float);
LAMINA_CUDA_ROWS(template, bf16);
LAMINA_CUDA_ROWS(template, f16);
}  // namespace lamina::kernel
