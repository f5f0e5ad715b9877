#include <lamina/kernel/cuda/rows/add.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(add);
