#include "fuzz.hpp"

#include <lamina/checkpoint/adapter/config.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run([&] {
    const auto config =
        lamina::checkpoint::AdapterConfig::load(fuzz::folder_with("adapter_config.json", fuzz::text(data, size)));
    lamina::checkpoint::adapter_config_text(config);
  });
}
