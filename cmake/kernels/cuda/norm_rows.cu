#include <lamina/kernel/cuda/rows/norm_rows.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(norm_rows);
