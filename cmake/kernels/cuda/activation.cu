#include <lamina/kernel/cuda/rows/activation.cuh>

namespace lamina::kernel {
LAMINA_CUDA_ACTIVATION(template, float);
LAMINA_CUDA_ACTIVATION(template, bf16);
LAMINA_CUDA_ACTIVATION(template, f16);
}  // namespace lamina::kernel
