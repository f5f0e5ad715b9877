#include <lamina/kernel/cuda/rows/rows.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(rows);
