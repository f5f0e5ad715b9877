#pragma once
// Every kernel of the CPU backend.
#include <lamina/kernel/cpu/attention/attention.hpp>
#include <lamina/kernel/cpu/attention/paged_attention.hpp>
#include <lamina/kernel/cpu/elementwise/activation.hpp>
#include <lamina/kernel/cpu/elementwise/add.hpp>
#include <lamina/kernel/cpu/elementwise/convert.hpp>
#include <lamina/kernel/cpu/elementwise/dropout.hpp>
#include <lamina/kernel/cpu/elementwise/embedding_noise.hpp>
#include <lamina/kernel/cpu/logits/adjust_logits.hpp>
#include <lamina/kernel/cpu/logits/head_loss.hpp>
#include <lamina/kernel/cpu/logits/logprobs.hpp>
#include <lamina/kernel/cpu/logits/preference.hpp>
#include <lamina/kernel/cpu/logits/sample.hpp>
#include <lamina/kernel/cpu/matmul/add_adapters.hpp>
#include <lamina/kernel/cpu/matmul/gated_product.hpp>
#include <lamina/kernel/cpu/matmul/grouped_matmul.hpp>
#include <lamina/kernel/cpu/matmul/magnitude.hpp>
#include <lamina/kernel/cpu/matmul/matmul.hpp>
#include <lamina/kernel/cpu/norm/add_norm.hpp>
#include <lamina/kernel/cpu/norm/layer_norm.hpp>
#include <lamina/kernel/cpu/norm/norm_rope.hpp>
#include <lamina/kernel/cpu/norm/rms_norm.hpp>
#include <lamina/kernel/cpu/optimizer/optimizer.hpp>
#include <lamina/kernel/cpu/ranks/across_ranks.hpp>
#include <lamina/kernel/cpu/rows/route.hpp>
#include <lamina/kernel/cpu/rows/rows.hpp>
#include <lamina/kernel/cpu/rows/token_inputs.hpp>

#if defined(__GNUC__) && !defined(__OPTIMIZE__) && !defined(__CUDACC__)
#pragma message( \
    "lamina: without optimisation a forward pass takes some 20 times as long: -O2, or CMAKE_BUILD_TYPE=Release")
#endif
