#include <lamina/kernel/cuda/rows/convert.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(convert);
