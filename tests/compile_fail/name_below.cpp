// expect: tensors[...]: nothing below the name so far bears this tag
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
constexpr auto place = tensors<Qwen3VL_Tiny>[name::model{}][language_model{}][layers{}[0]][attn{}];
