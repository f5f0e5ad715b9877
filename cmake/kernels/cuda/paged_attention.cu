#include <lamina/kernel/cuda/attention/paged_attention.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(paged_attention);
