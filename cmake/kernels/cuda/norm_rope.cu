#include <lamina/kernel/cuda/rows/norm_rope.cuh>

namespace lamina::kernel {
LAMINA_CUDA_NORM_ROPE(template, float);
LAMINA_CUDA_NORM_ROPE(template, bf16);
LAMINA_CUDA_NORM_ROPE(template, f16);
}  // namespace lamina::kernel
