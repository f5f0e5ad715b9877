#include <lamina/kernel/cuda/rows/norm_rope.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(norm_rope);
