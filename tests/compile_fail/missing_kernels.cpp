// expect: no kernel for this backend: include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/step.hpp>
using namespace lamina;
double loss(Weights<qwen3_vl::Qwen3VL_Tiny, float>& weights, const Batch& batch) {
  train::Step<qwen3_vl::Qwen3VL_Tiny> step;
  return step.accumulate(weights, batch, 7, 0).loss;
}
