#include <lamina/kernel/cuda/device/requirements.hpp>

#include "support/catch.hpp"

using namespace lamina;

TEST_CASE("a GPU's driver must know the toolkit's major version, its architecture must be sm_80 or newer") {
  CHECK(why_not_driver(13000, 13020) == "");
  CHECK(why_not_driver(14000, 13000) == "");
  CHECK(why_not_driver(0, 13000) == "no NVIDIA driver was found: install one, or use device: cpu");
  CHECK(why_not_driver(12040, 13000) ==
        "the NVIDIA driver supports CUDA 12.4, this program was built with CUDA 13.0: update the driver, build with an "
        "older toolkit, or use device: cpu");
  CHECK(why_not_architecture("NVIDIA A100", 8, 0) == "");
  CHECK(why_not_architecture("Tesla T4", 7, 5) ==
        "Tesla T4 is sm_75; lamina's kernels need sm_80 (Ampere) or newer: use device: cpu");
}
