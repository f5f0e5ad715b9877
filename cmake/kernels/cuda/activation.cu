#include <lamina/kernel/cuda/rows/activation.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(activation);
LAMINA_CUDA_KERNELS(silu_gate);
