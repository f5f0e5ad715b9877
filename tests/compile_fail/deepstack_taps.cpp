// expect: DeepStack: names as many decoder layers as the tower has side outputs
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
struct TwoTaps : VisionTiny { using deepstack_visual_indexes = Indices<0, 1>; };
struct Model : Qwen3VL<TwoTaps, TextTiny> {};
static_assert(param_count<Model> > 0);
