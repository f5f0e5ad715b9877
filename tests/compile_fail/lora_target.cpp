// expect: Adapt: no linear layer of the model bears any of the names in Targets<...>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
struct Model : LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<8>, Alpha<16>, Targets<qwen3_vl::merger>> {};
