#include <lamina/kernel/cuda/rows/optimizer.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(optimizer);
