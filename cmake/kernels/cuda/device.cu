// GPUs and their memory.
#include <lamina/kernel/cuda/device/device.cuh>
