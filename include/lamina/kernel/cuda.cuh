#pragma once
// Every kernel of the CUDA backend, defined. A program whose models are plain C++ includes kernel/cuda.hpp there and
// instantiates the kernels in a few .cu files of its own, as cmake/cuda_kernels.cmake does.
#include <lamina/kernel/cuda.hpp>
#include <lamina/kernel/cuda/attention/attention.cuh>
#include <lamina/kernel/cuda/attention/paged_attention.cuh>
#include <lamina/kernel/cuda/device/device.cuh>
#include <lamina/kernel/cuda/matmul/add_adapters.cuh>
#include <lamina/kernel/cuda/matmul/gated_product.cuh>
#include <lamina/kernel/cuda/matmul/head_loss.cuh>
#include <lamina/kernel/cuda/matmul/matmul.cuh>
#include <lamina/kernel/cuda/rows/across_ranks.cuh>
#include <lamina/kernel/cuda/rows/activation.cuh>
#include <lamina/kernel/cuda/rows/add.cuh>
#include <lamina/kernel/cuda/rows/adjust_logits.cuh>
#include <lamina/kernel/cuda/rows/convert.cuh>
#include <lamina/kernel/cuda/rows/dropout.cuh>
#include <lamina/kernel/cuda/rows/embedding.cuh>
#include <lamina/kernel/cuda/rows/logprobs.cuh>
#include <lamina/kernel/cuda/rows/norm_rope.cuh>
#include <lamina/kernel/cuda/rows/norm_rows.cuh>
#include <lamina/kernel/cuda/rows/optimizer.cuh>
#include <lamina/kernel/cuda/rows/rows.cuh>
#include <lamina/kernel/cuda/rows/sample.cuh>
#include <lamina/kernel/cuda/rows/token_inputs.cuh>
