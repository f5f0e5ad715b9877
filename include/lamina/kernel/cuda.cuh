#pragma once
// Every kernel of the CUDA backend, defined. A program whose models are plain C++ includes kernel/cuda.hpp there and
// instantiates the kernels in a few .cu files of its own, as cmake/cuda_kernels.cmake does.
#include <lamina/kernel/cuda.hpp>
#include <lamina/kernel/cuda/attention/attention.cuh>
#include <lamina/kernel/cuda/attention/paged_attention.cuh>
#include <lamina/kernel/cuda/device/device.cuh>
#include <lamina/kernel/cuda/elementwise/activation.cuh>
#include <lamina/kernel/cuda/elementwise/add.cuh>
#include <lamina/kernel/cuda/elementwise/convert.cuh>
#include <lamina/kernel/cuda/elementwise/dropout.cuh>
#include <lamina/kernel/cuda/elementwise/embedding_noise.cuh>
#include <lamina/kernel/cuda/logits/adjust_logits.cuh>
#include <lamina/kernel/cuda/logits/head_loss.cuh>
#include <lamina/kernel/cuda/logits/logprobs.cuh>
#include <lamina/kernel/cuda/logits/preference.cuh>
#include <lamina/kernel/cuda/logits/sample.cuh>
#include <lamina/kernel/cuda/matmul/add_adapters.cuh>
#include <lamina/kernel/cuda/matmul/gated_product.cuh>
#include <lamina/kernel/cuda/matmul/magnitude.cuh>
#include <lamina/kernel/cuda/matmul/matmul.cuh>
#include <lamina/kernel/cuda/norm/norm_rope.cuh>
#include <lamina/kernel/cuda/norm/norm_rows.cuh>
#include <lamina/kernel/cuda/optimizer/optimizer.cuh>
#include <lamina/kernel/cuda/ranks/across_ranks.cuh>
#include <lamina/kernel/cuda/rows/embedding.cuh>
#include <lamina/kernel/cuda/rows/rows.cuh>
#include <lamina/kernel/cuda/rows/token_inputs.cuh>
