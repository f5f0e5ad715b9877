#pragma once
#include <lamina/kernel/cpu.hpp>
#include <lamina/kernel/operations.hpp>

/// Like kernel/cpu.hpp, but the kernels are compiled in one other translation unit, which holds LAMINA_CPU_KERNELS: a
/// program with many models compiles them once, and its models, which are walks through
/// a type then, need little optimisation.
#define LAMINA_CPU_EXTERN(op, pass, ...) LAMINA_SIGNATURES(extern template, ::lamina::Cpu, op, pass, __VA_ARGS__)
#define LAMINA_CPU_EXTERNS(op, header) LAMINA_OPERATION_##op(LAMINA_CPU_EXTERN, float)
#define LAMINA_CPU_DEFINITION(op, pass, ...) LAMINA_SIGNATURES(template, ::lamina::Cpu, op, pass, __VA_ARGS__)
#define LAMINA_CPU_DEFINITIONS(op, header) LAMINA_OPERATION_##op(LAMINA_CPU_DEFINITION, float)
#define LAMINA_CPU_KERNELS                  \
  namespace lamina::kernel {                \
  LAMINA_OPERATIONS(LAMINA_CPU_DEFINITIONS) \
  }                                         \
  static_assert(true)

namespace lamina::kernel {
LAMINA_OPERATIONS(LAMINA_CPU_EXTERNS)
}
