// expect: DeepStack: names a decoder layer that the stack does not have
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
struct TwoLayers : TextTiny {
  static constexpr int num_hidden_layers = 2;
};
struct Model : Qwen3VL<VisionTiny, TwoLayers> {};
static_assert(param_count<Model> > 0);
