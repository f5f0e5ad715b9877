#pragma once
// Every kernel of the CUDA backend, declared for plain C++; kernel/cuda.cuh defines them.
#include <lamina/kernel/cuda/device.hpp>
#include <lamina/kernel/cuda/head_loss.hpp>
#include <lamina/kernel/cuda/matmul.hpp>
#include <lamina/kernel/cuda/optimizer.hpp>
#include <lamina/kernel/cuda/tmp_decl.hpp>
