#include "fuzz.hpp"

#include <cstring>
#include <vector>

#include <lamina/vision/video/messages.hpp>

/// What a decoder that a hostile file has taken over may write.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run([&] {
    auto read = [&](void* to, std::size_t count) {
      if (count > size) lamina::fail("the decoder ended early");
      std::memcpy(to, data, count);
      data += count, size -= count;
    };
    const std::vector<std::int64_t> frames{0, 7};
    lamina::vision::detail::read_answer(read, frames, 1 << 20, "input",
                                        [](std::size_t, const lamina::vision::Image&) {});
  });
}
