#include <lamina/kernel/cuda/attention/paged_attention.cuh>

namespace lamina::kernel {
LAMINA_CUDA_PAGED_ATTENTION(template, float);
LAMINA_CUDA_PAGED_ATTENTION(template, bf16);
LAMINA_CUDA_PAGED_ATTENTION(template, f16);
}  // namespace lamina::kernel
