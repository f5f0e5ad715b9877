// An operation of one's own, from its contract to its tests: the gradient check on the CPU, the same numbers on the GPU
// if the program is built for one, and its line in a plan.
#include <iostream>

#include <lamina/fuse/describe.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/testing/gradient_check.hpp>
#if defined(LAMINA_HAS_CUDA)
#include <lamina/kernel/cuda.hpp>
#include <lamina/kernel/cuda/device/device.hpp>
#include <lamina/testing/backend_check.hpp>
#endif

#include "squared_relu.hpp"

using namespace lamina;
LAMINA_NAME(up);
struct Block : Chain<Named<up, Linear<16, 24>>, mine::SquaredRelu<24>, Named<name::proj, Linear<24, 16>>> {};

int main() {
  const auto gradients = testing::check_gradients<Block>();
  std::cout << describe<Block>() << gradients.text();
  bool passed = gradients.passed();
#if defined(LAMINA_HAS_CUDA)
  std::string why_not;
  if (CudaDevice::available(&why_not)) {
    const auto same = testing::check_backends<Block>();
    std::cout << same.text();
    passed = passed && same.passed();
  } else {
    std::cout << "the GPU's kernel was not run: " << why_not << "\n";
  }
#endif
  return passed ? 0 : 1;
}
