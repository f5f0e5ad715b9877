// expect: VisionLanguage: the vision tower's out_hidden_size must be the language model's hidden_size
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
struct Text : qwen3_vl::TextTiny {
  static constexpr int hidden_size = 512;
};
struct Model : qwen3_vl::Qwen3VL<qwen3_vl::VisionTiny, Text> {};
