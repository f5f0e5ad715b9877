// Compiles: what the other programs here get wrong, done right. nvcc reads it as a .cu file, host code and all.
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
LAMINA_NAME(layers); LAMINA_NAME(norm1);
struct Model : Stack<layers, 2, Residual<Named<norm1, RMSNorm<64>>, Named<name::proj, Linear<64, 64>>>> {};
static_assert(param_count<Model> == 2 * (64 + 64 * 64));
struct Nested : LoRA<LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<8>, Alpha<16>, Targets<name::q_proj>>, Rank<4>, Alpha<8>,
                     Targets<name::v_proj>> {};
const auto tensors = list_tensors<Nested>();
