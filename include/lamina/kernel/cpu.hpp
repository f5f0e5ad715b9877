#pragma once
// Every kernel of the CPU backend.
#include <lamina/kernel/cpu/activation.hpp>
#include <lamina/kernel/cpu/add.hpp>
#include <lamina/kernel/cpu/add_norm.hpp>
#include <lamina/kernel/cpu/attention.hpp>
#include <lamina/kernel/cpu/cache.hpp>
#include <lamina/kernel/cpu/dropout.hpp>
#include <lamina/kernel/cpu/head_loss.hpp>
#include <lamina/kernel/cpu/layer_norm.hpp>
#include <lamina/kernel/cpu/matmul.hpp>
#include <lamina/kernel/cpu/norm_rope.hpp>
#include <lamina/kernel/cpu/optimizer.hpp>
#include <lamina/kernel/cpu/paged_attention.hpp>
#include <lamina/kernel/cpu/rms_norm.hpp>
#include <lamina/kernel/cpu/rows.hpp>
#include <lamina/kernel/cpu/sample.hpp>
#include <lamina/kernel/cpu/token_inputs.hpp>
