#include <lamina/kernel/cuda/rows/token_inputs.cuh>
