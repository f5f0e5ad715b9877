#include "fuzz.hpp"

#include <lamina/model/qwen_vl/chat.hpp>
#include <lamina/text/tokenizer.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run([&] {
    const auto tokenizer = lamina::text::Tokenizer::load(fuzz::folder_with("tokenizer.json", fuzz::text(data, size)),
                                                         lamina::qwen_vl::control_tokens);
    tokenizer.encode("Hello, it's 42\n\xe4\xbd\xa0\xe5\xa5\xbd <|im_end|>");
  });
}
