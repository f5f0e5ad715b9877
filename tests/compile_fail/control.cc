// Compiles: what the other programs here get wrong, done right.
#include <lamina/kernel/cpu/rms_norm.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
LAMINA_NAME(layers); LAMINA_NAME(norm1);
struct Model : Stack<layers, 2, Residual<Named<norm1, RMSNorm<64>>, Named<name::proj, Linear<64, 64>>>> {};
static_assert(param_count<Model> == 2 * (64 + 64 * 64));
