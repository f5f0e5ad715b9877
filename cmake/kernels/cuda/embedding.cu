#include <lamina/kernel/cuda/rows/embedding.cuh>
#include <lamina/kernel/operations.hpp>

LAMINA_CUDA_KERNELS(embedding);
LAMINA_CUDA_KERNELS(learned_position);
