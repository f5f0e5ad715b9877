#pragma once
// Every kernel of the CUDA backend, defined. A program whose models are plain C++ includes kernel/cuda.hpp there and
// instantiates the kernels in a few .cu files of its own, as examples/cuda_kernels/ does.
#include <lamina/kernel/cuda.hpp>
#include <lamina/kernel/cuda/activation.cuh>
#include <lamina/kernel/cuda/add.cuh>
#include <lamina/kernel/cuda/attention.cuh>
#include <lamina/kernel/cuda/cache.cuh>
#include <lamina/kernel/cuda/convert.cuh>
#include <lamina/kernel/cuda/device.cuh>
#include <lamina/kernel/cuda/dropout.cuh>
#include <lamina/kernel/cuda/embedding.cuh>
#include <lamina/kernel/cuda/head_loss.cuh>
#include <lamina/kernel/cuda/matmul.cuh>
#include <lamina/kernel/cuda/norm_rope.cuh>
#include <lamina/kernel/cuda/norm_rows.cuh>
#include <lamina/kernel/cuda/optimizer.cuh>
#include <lamina/kernel/cuda/paged_attention.cuh>
#include <lamina/kernel/cuda/rows.cuh>
#include <lamina/kernel/cuda/sample.cuh>
