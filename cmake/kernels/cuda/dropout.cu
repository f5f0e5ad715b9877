#include <lamina/kernel/cuda/rows/dropout.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(dropout);
