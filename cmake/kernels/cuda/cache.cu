#include <lamina/kernel/cuda/attention/cache.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(cache);
