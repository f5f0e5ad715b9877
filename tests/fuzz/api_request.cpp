#include <lamina/model/qwen3_vl/chat.hpp>
#include <lamina/serve/anthropic/messages_request.hpp>
#include <lamina/serve/openai/request/chat/chat_batch.hpp>
#include <lamina/serve/openai/request/completion_request.hpp>
#include <lamina/serve/openai/responses/responses_request.hpp>

#include "fuzz.hpp"

using namespace lamina;

/// The body of a request; its first byte says of which API. What is refused has a status of 400 and says why, in few
/// words and not in the client's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const serve::RequestLimits limits{.chat = &qwen3_vl::chat, .vocab_size = 1000, .max_model_len = 1000, .eos = {1}};
  try {
    const serve::JsonTree body = serve::parse_body(fuzz::text(data + 1, size - 1));
    switch (data[0] % 5) {
      case 0:
        serve::read_chat_request(*body, limits, {});
        break;
      case 1:
        serve::read_completion_request(*body, limits, {});
        break;
      case 2:
        serve::read_messages_request(*body, limits, {});
        break;
      case 3:
        serve::read_responses_request(*body, limits, {});
        break;
      case 4:
        serve::read_chat_batch(*body, limits, {});
        break;
    }
  } catch (const serve::ApiError& e) {
    const std::size_t length = std::string(e.what()).size();
    if (e.status != 400 || length == 0 || length > 2000) __builtin_trap();
  }
  return 0;
}
