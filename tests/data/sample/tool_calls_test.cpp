#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/sample/template.hpp>
#include <lamina/serve/openai/request/chat/chat_messages.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

DatasetInfo openai_layout() {
  DatasetInfo info;
  info.name = "x", info.formatting = Formatting::openai;
  info.columns.messages = "messages", info.columns.tools = "tools";
  info.tags = {.role_tag = "role",
               .content_tag = "content",
               .user_tag = "user",
               .assistant_tag = "assistant",
               .observation_tag = "tool",
               .function_tag = "function",
               .system_tag = "system"};
  return info;
}

/// What training makes of a record, prompts and answers in one.
std::string trained(const Json& record) {
  const Converted converted = convert({record, "x.json", 1}, openai_layout(), &qwen_vl::tools);
  REQUIRE(std::holds_alternative<Conversation>(converted));
  const Conversation& c = std::get<Conversation>(converted);
  std::string out;
  for (const RenderedPair& pair : render_pairs(ChatLayout::named("qwen3_vl_nothink"), c.turns, c.system, c.tools, {})) {
    for (const std::string& text : pair.source) out += text;
    for (const std::string& text : pair.target) out += text;
  }
  return out;
}

/// What the server makes of the same messages and tools.
std::string served(const Json& record) {
  const serve::ChatMessages chat = serve::read_messages(record["messages"], {8});
  text::TemplateOptions options{.add_generation_prompt = false};
  for (const Json& tool : record.value("tools", Json::array())) options.tools.push_back(tool);
  return text::joined(text::PromptTemplate::released(qwen3_vl::chat).render(chat.messages, options));
}

}  // namespace

TEST_CASE("Tool calls: a conversation is trained with the text that serving gives it") {
  const Json records = Json::parse(R"([
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "w?"},
      {"role": "assistant", "content": "Let me look.", "tool_calls":
        [{"id": "1", "type": "function", "function": {"name": "get", "arguments": {"x": 1, "y": [1.5, null, "é"]}}}]},
      {"role": "tool", "content": "sunny"}, {"role": "assistant", "content": "ok"}],
     "tools": [{"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}]},
    {"messages": [{"role": "user", "content": "w?"},
      {"role": "assistant", "content": null, "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": "{\"x\":1,\"y\":\"a\\nb\"}"}},
        {"type": "function", "function": {"name": "g", "arguments": ""}}]},
      {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"},
      {"role": "assistant", "content": "more", "tool_calls": [{"function": {"name": "h", "arguments": {}}}]},
      {"role": "tool", "content": "3"}, {"role": "assistant", "content": "ok"}]},
    {"messages": [{"role": "user", "content": "w?"},
      {"role": "assistant", "content": "b", "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\": 1e3}"}}]}]}
  ])");
  for (const Json& record : records) CHECK(trained(record) == served(record));
}
