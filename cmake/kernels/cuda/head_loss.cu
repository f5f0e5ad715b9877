#include <lamina/kernel/cuda/matmul/head_loss.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(head_loss);
