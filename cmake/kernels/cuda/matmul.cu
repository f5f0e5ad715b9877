#include <lamina/kernel/cuda/matmul/matmul.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(matmul);
