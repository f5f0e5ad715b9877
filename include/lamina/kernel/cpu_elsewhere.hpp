#pragma once
#include <lamina/kernel/cpu.hpp>

/// Like kernel/cpu.hpp, but the heavy kernels are compiled in one other translation unit, which holds
/// LAMINA_CPU_KERNELS(template): a program with many models then compiles them once.
#define LAMINA_CPU_KERNELS(prefix)                                                                                     \
  prefix void lamina::kernel::matmul<lamina::Cpu>::forward<float>(Stream<Cpu>, const MatmulFwd<float>&);               \
  prefix void lamina::kernel::matmul<lamina::Cpu>::backward_input<float>(Stream<Cpu>, const MatmulBwdInput<float>&);   \
  prefix void lamina::kernel::matmul<lamina::Cpu>::backward_weight<float>(Stream<Cpu>, const MatmulBwdWeight<float>&); \
  prefix void lamina::kernel::attention<lamina::Cpu>::forward<float>(Stream<Cpu>, const AttentionFwd<float>&);         \
  prefix void lamina::kernel::attention<lamina::Cpu>::backward<float>(Stream<Cpu>, const AttentionBwd<float>&);        \
  prefix void lamina::kernel::head_loss<lamina::Cpu>::run<float>(Stream<Cpu>, const HeadLoss<float>&)

namespace lamina::kernel {
LAMINA_CPU_KERNELS(extern template);
}
