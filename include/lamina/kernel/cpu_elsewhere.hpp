#pragma once
#include <lamina/kernel/cpu.hpp>

/// Like kernel/cpu.hpp, but the kernels listed here, which are defined outside their structs, are compiled in one other
/// translation unit, which holds LAMINA_CPU_KERNELS(template): a program with many models compiles them once, and its
/// models, which are walks through a type then, need little optimisation.
#define LAMINA_CPU_KERNEL(prefix, op, pass, ...) \
  prefix void lamina::kernel::op<lamina::Cpu>::pass<float>(Stream<Cpu>, __VA_ARGS__)
#define LAMINA_CPU_ACTIVATION(prefix, F)                                                                        \
  prefix void lamina::kernel::activation<lamina::Cpu>::forward<F, float>(Stream<Cpu>, F, ActivationFwd<float>); \
  prefix void lamina::kernel::activation<lamina::Cpu>::backward<F, float>(Stream<Cpu>, F, ActivationBwd<float>)
#define LAMINA_CPU_KERNELS(prefix)                                                      \
  LAMINA_CPU_KERNEL(prefix, matmul, forward, const MatmulFwd<float>&);                  \
  LAMINA_CPU_KERNEL(prefix, matmul, backward_input, const MatmulBwdInput<float>&);      \
  LAMINA_CPU_KERNEL(prefix, matmul, backward_weight, const MatmulBwdWeight<float>&);    \
  LAMINA_CPU_KERNEL(prefix, attention, forward, const AttentionFwd<float>&);            \
  LAMINA_CPU_KERNEL(prefix, attention, backward, const AttentionBwd<float>&);           \
  LAMINA_CPU_KERNEL(prefix, paged_attention, forward, const PagedAttentionFwd<float>&); \
  LAMINA_CPU_KERNEL(prefix, head_loss, run, const HeadLoss<float>&);                    \
  LAMINA_CPU_ACTIVATION(prefix, GeluErf);                                               \
  LAMINA_CPU_ACTIVATION(prefix, GeluTanh);                                              \
  LAMINA_CPU_KERNEL(prefix, silu_gate, forward, SiluGateFwd<float>);                    \
  LAMINA_CPU_KERNEL(prefix, silu_gate, backward, SiluGateBwd<float>);                   \
  LAMINA_CPU_KERNEL(prefix, norm_rope, forward, NormRopeFwd<float>);                    \
  LAMINA_CPU_KERNEL(prefix, norm_rope, backward, NormRopeBwd<float>);                   \
  LAMINA_CPU_KERNEL(prefix, add, forward, Add<float>);                                  \
  LAMINA_CPU_KERNEL(prefix, add, copy, Add<float>);                                     \
  LAMINA_CPU_KERNEL(prefix, dropout, forward, DropoutMask, Dropout<float>);             \
  LAMINA_CPU_KERNEL(prefix, sample, forward, const Sample<float>&);                     \
  LAMINA_CPU_KERNEL(prefix, sample, rows, const SampleRows<float>&);                    \
  LAMINA_CPU_KERNEL(prefix, optimizer, adamw, const AdamWStep<float>&)

namespace lamina::kernel {
LAMINA_CPU_KERNELS(extern template);
}
