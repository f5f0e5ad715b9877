#include <nlohmann/json.hpp>

#include "fuzz.hpp"

#include <lamina/io/json.hpp>

using namespace lamina;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using Json = nlohmann::ordered_json;
  return fuzz::run<>([&] { io::parse_json<Json>(std::string(fuzz::text(data, size))); });
}
