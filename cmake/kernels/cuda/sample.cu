#include <lamina/kernel/cuda/rows/sample_rows.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(sample);
