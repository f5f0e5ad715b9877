#pragma once
// Every kernel of the CUDA backend, declared for plain C++; kernel/cuda.cuh defines them.
#include <lamina/kernel/cuda/activation.hpp>
#include <lamina/kernel/cuda/add.hpp>
#include <lamina/kernel/cuda/add_norm.hpp>
#include <lamina/kernel/cuda/attention.hpp>
#include <lamina/kernel/cuda/cache.hpp>
#include <lamina/kernel/cuda/convert.hpp>
#include <lamina/kernel/cuda/device.hpp>
#include <lamina/kernel/cuda/dropout.hpp>
#include <lamina/kernel/cuda/embedding.hpp>
#include <lamina/kernel/cuda/head_loss.hpp>
#include <lamina/kernel/cuda/layer_norm.hpp>
#include <lamina/kernel/cuda/matmul.hpp>
#include <lamina/kernel/cuda/norm_rope.hpp>
#include <lamina/kernel/cuda/optimizer.hpp>
#include <lamina/kernel/cuda/rms_norm.hpp>
#include <lamina/kernel/cuda/rows.hpp>
