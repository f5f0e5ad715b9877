#include <lamina/serve/openai/request/context_length.hpp>

#include "support/catch.hpp"

using namespace lamina::serve;

TEST_CASE("context length: refusals have vLLM's words, by which clients recognise them") {
  CHECK(context_length_message(8192, 64, 10000) ==
        "This model's maximum context length is 8192 tokens. However, you requested 64 output tokens and your prompt "
        "contains 10000 input tokens, for a total of 10064 tokens. Please reduce the length of the input prompt or the "
        "number of requested output tokens.");
  CHECK(context_length_message(8192, 64, 8129, true) ==
        "This model's maximum context length is 8192 tokens. However, you requested 64 output tokens and your prompt "
        "contains at least 8129 input tokens, for a total of at least 8193 tokens. Please reduce the length of the "
        "input prompt or the number of requested output tokens.");
  CHECK(context_length_message_for_text(8192, 64, 100000, 81280) ==
        "This model's maximum context length is 8192 tokens. However, you requested 64 output tokens and your prompt "
        "contains 100000 characters (more than 81280 characters, which is the upper bound for 8128 input tokens). "
        "Please reduce the length of the input prompt or the number of requested output tokens.");
}
