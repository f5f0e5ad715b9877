#include "fuzz.hpp"

#include <lamina/vision/image.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run([&] { lamina::vision::decode_image({data, size}, "input", {.max_pixels = 1 << 20}); });
}
