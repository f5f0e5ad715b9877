// The CPU kernels that take time, compiled once for all models of the programs.
#include <lamina/kernel/cpu_elsewhere.hpp>

namespace lamina::kernel {
LAMINA_CPU_KERNELS(template);
}
