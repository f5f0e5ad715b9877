#pragma once
// lamina.hpp with the CUDA backend's kernels: for a program in one .cu file.
#include <lamina/kernel/cuda.cuh>
#include <lamina/lamina.hpp>
