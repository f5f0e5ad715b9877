#include <lamina/kernel/cuda/rows/sample_rows.cuh>

namespace lamina::kernel {
LAMINA_CUDA_SAMPLE(template, float);
LAMINA_CUDA_SAMPLE(template, bf16);
LAMINA_CUDA_SAMPLE(template, f16);
LAMINA_CUDA_SAMPLE_ROWS(template, float);
LAMINA_CUDA_SAMPLE_ROWS(template, bf16);
LAMINA_CUDA_SAMPLE_ROWS(template, f16);
}  // namespace lamina::kernel
