#include <lamina/kernel/plan.hpp>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

TEST_CASE("plan: backward of every norm whose gain learns counts the scratch that CUDA takes") {
  float gradient = 0;
  const auto scratch = [&]<class Norm, class Args>(Norm, Args args) {
    args.dg = &gradient;
    Arena counting;
    Norm::backward(Stream<Plan>{nullptr, &counting}, args);
    return counting.peak_bytes();
  };
  CHECK(scratch(rms_norm<Plan>{}, RMSNormBwd<float, 64>{}) > 0);
  CHECK(scratch(layer_norm<Plan>{}, LayerNormBwd<bf16, 64>{}) > 0);
  CHECK(scratch(add_rms_norm<Plan>{}, AddRMSNormBwd<bf16, 64>{}) > 0);
  CHECK(scratch(add_layer_norm<Plan>{}, AddLayerNormBwd<float, 64>{}) > 0);
}
