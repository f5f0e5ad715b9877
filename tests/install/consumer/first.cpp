#include <iostream>
#include <lamina/checkpoint/weights_file.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/forward.hpp>

using namespace lamina;
using namespace lamina::qwen3_vl;

int main(int, char** arguments) {
  auto weights = load<Qwen3VL_Nano>(arguments[1]);  // a folder: data/qwen3_vl_nano
  const auto up = named(weights)[name::model{}][language_model{}][layers{}[1]][mlp{}][up_proj{}];
  std::cout << up << "\n";
  kernel::array_of(up.matrix()) *= 0.5f;

  const ForwardResult result = run_forward(weights, {1, 2, 3});
  std::cout << kernel::array_of(result.logits_matrix()).rowwise().maxCoeff() << "\n";
  save(weights, arguments[2]);  // a file: half.safetensors
}
