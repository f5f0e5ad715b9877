// expect: Sharded<M, N>: N must divide the query heads, the MLP's intermediate_size and vocab_size
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
struct Model : Sharded<qwen3_vl::Qwen3VL_8B, 64> {};
