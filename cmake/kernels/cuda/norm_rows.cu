#include <lamina/kernel/cuda/rows/norm_rows.cuh>

namespace lamina::kernel::cuda {
LAMINA_CUDA_NORM_ROWS(template, float);
LAMINA_CUDA_NORM_ROWS(template, bf16);
LAMINA_CUDA_NORM_ROWS(template, f16);
}  // namespace lamina::kernel::cuda
