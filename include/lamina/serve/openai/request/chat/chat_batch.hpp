#pragma once
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/openai/request/chat/chat_request.hpp>

namespace lamina::serve {

/// Checks and reads a request of /v1/chat/completions/batch: "messages" is a list of conversations, the other fields
/// hold for each of them. As in vLLM there are no streams and no tools, and one answer to each. Errors are ApiErrors.
inline std::vector<ChatRequest> read_chat_batch(const Json& body, const RequestLimits& limits,
                                                const GenerationDefaults& defaults) {
  constexpr std::size_t most = 256;
  const Fields fields(body);
  const Json* conversations = fields.maybe_list("messages");
  if (!conversations || conversations->empty())
    throw wrong_field("messages", conversations ? "empty" : "missing",
                      "a list of conversations, each a list of messages");
  if (conversations->size() > most)
    throw wrong_field("messages", cat("a list of ", conversations->size()), cat("at most ", most, " conversations"));
  if (fields.boolean("stream")) throw bad_field("stream", "stream: a batch is not streamed");
  if (fields.find("tools")) throw bad_field("tools", "tools: a batch calls none");
  if (fields.maybe_integer("n", 1, limits.max_choices).value_or(1) != 1)
    throw bad_field("n", "n: each conversation of a batch has one answer");
  Json one = body;
  std::vector<ChatRequest> out;
  for (const auto& conversation : *conversations) {
    one["messages"] = conversation;
    try {
      out.push_back(read_chat_request(one, limits, defaults));
    } catch (ApiError& e) {  // the place of the mistake in the whole request
      if (e.param.starts_with("messages")) e.param.insert(std::string("messages").size(), cat(".", out.size()));
      throw;
    }
  }
  return out;
}

}  // namespace lamina::serve
