#include <lamina/kernel/cuda/attention/attention.cuh>

namespace lamina::kernel {
LAMINA_CUDA_ATTENTION(template, float);
LAMINA_CUDA_ATTENTION(template, bf16);
LAMINA_CUDA_ATTENTION(template, f16);
}  // namespace lamina::kernel
