#include <lamina/kernel/cuda/rows/convert.cuh>

namespace lamina::kernel {
LAMINA_CUDA_CONVERT(template, float);
LAMINA_CUDA_CONVERT(template, bf16);
LAMINA_CUDA_CONVERT(template, f16);
}  // namespace lamina::kernel
