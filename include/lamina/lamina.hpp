#pragma once
// Everything a model author needs, without a GPU: compositions, layers, and the memory of a model's weights. Kernels
// are chosen by the program that runs the model: <lamina/kernel/cpu.hpp>.
#include <lamina/compose.hpp>
#include <lamina/compose/plan/initialise.hpp>
#include <lamina/compose/plan/named_tensor.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/host/kernel.hpp>
#include <lamina/layer.hpp>
