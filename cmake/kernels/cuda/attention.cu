#include <lamina/kernel/cuda/attention/attention.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(attention);
