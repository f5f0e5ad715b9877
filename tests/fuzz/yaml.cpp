#include "fuzz.hpp"

#include <lamina/io/yaml.hpp>

using namespace lamina;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run<>([&] { io::load_yaml(std::string(fuzz::text(data, size)), "input.yaml"); });
}
