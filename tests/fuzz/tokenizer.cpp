#include "fuzz.hpp"

#include <lamina/text/tokenizer.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run([&] {
    const auto tokenizer = lamina::text::Tokenizer::load(fuzz::folder_with("tokenizer.json", fuzz::text(data, size)));
    tokenizer.encode("Hello, it's 42\n\xe4\xbd\xa0\xe5\xa5\xbd <|im_end|>");
  });
}
