// The CPU kernels, compiled once for all models of the programs.
#include <lamina/kernel/cpu_elsewhere.hpp>

LAMINA_CPU_KERNELS;
