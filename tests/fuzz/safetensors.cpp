#include "fuzz.hpp"

#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/checkpoint/safetensors/header.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run([&] {
    lamina::checkpoint::TensorFile::open(fuzz::folder_with("model.safetensors", fuzz::text(data, size)) /
                                         "model.safetensors");
  });
}
