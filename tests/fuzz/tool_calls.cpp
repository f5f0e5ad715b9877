#include <lamina/model/qwen_vl/chat.hpp>
#include <lamina/serve/openai/answer/message_parser.hpp>

#include "fuzz.hpp"

using namespace lamina;

/// An answer in pieces, cut as its first byte says, is the answer that comes whole; every call that is reported has a
/// name, and of an answer without mistakes its arguments are JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = fuzz::text(data + 1, size - 1);
  const serve::MessageForm form{.reasoning = (data[0] & 128) != 0, .tools = &qwen_vl::tools};
  return fuzz::run([&] {
    const serve::MessagePiece whole = serve::parse_message(form, text);
    serve::MessageParser parser(form);
    std::string content, reasoning;
    std::vector<std::string> arguments;
    const auto take = [&](const serve::MessagePiece& piece) {
      content += piece.content, reasoning += piece.reasoning;
      for (const auto& part : piece.calls) {
        if (part.call == static_cast<int>(arguments.size())) {
          if (part.name.empty()) __builtin_trap();
          arguments.emplace_back();
        }
        arguments.at(static_cast<std::size_t>(part.call)) += part.arguments;
      }
    };
    const std::size_t piece = 1 + data[0] % 16;
    for (std::size_t at = 0; at < text.size(); at += piece) take(parser.push(text.substr(at, piece)));
    take(parser.finish());
    if (reasoning != whole.reasoning) __builtin_trap();
    if (parser.broken()) return;
    if (content != whole.content || arguments.size() != whole.calls.size()) __builtin_trap();
    for (std::size_t i = 0; i < arguments.size(); ++i)
      if (arguments[i] != whole.calls[i].arguments || !serve::Json::accept(arguments[i])) __builtin_trap();
  });
}
