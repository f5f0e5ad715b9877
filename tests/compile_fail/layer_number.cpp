// expect: tensors[...]: this tag names a stack: say which layer, as in [layers{}[7]]
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
constexpr auto place = tensors<Qwen3VL_Tiny>[name::model{}][language_model{}][layers{}][mlp{}];
