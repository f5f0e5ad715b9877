// main() of the tests that need a GPU: without one it says so and exits with 77, which CTest counts as skipped.
#include <iostream>
#include <lamina/kernel/cuda/device/device.hpp>

#define CATCH_CONFIG_RUNNER
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#include <catch2/catch.hpp>
#endif

int main(int argc, char** argv) {
  if (std::string why; !lamina::CudaDevice::available(&why)) {
    std::cout << "skipped: " << why << "\n";
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
