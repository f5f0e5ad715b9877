// expect: Adapt: a layer that Targets<...> names has an adapter already
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
struct Once : LoRA<Qwen3VL_Tiny, Rank<8>, Alpha<16>, Targets<q_proj>> {};
struct Twice : LoRA<Once, Rank<4>, Alpha<8>, Targets<q_proj, v_proj>> {};
