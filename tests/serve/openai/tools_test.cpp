#include <map>
#include <random>
#include <string>
#include <vector>

#include <lamina/model/qwen_vl/chat.hpp>

#include "serve/events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

const std::string weather =
    R"({"type":"function","function":{"name":"weather","description":"of a city","parameters":{"type":"object","properties":{"city":{"type":"string","maxLength":8},"days":{"type":"integer","minimum":1,"maximum":9}},"required":["city","days"]}}})";
const std::string clock_tool =
    R"({"type":"function","function":{"name":"clock","parameters":{"type":"object","properties":{}}}})";
const std::string tools = R"("tools":[)" + weather + "," + clock_tool + "]";

Setup with_reasoning() {
  Setup setup = with_tools();
  setup.service.request_defaults.reasoning = true;
  return setup;
}

std::string call(const std::string& name, const std::string& arguments) {
  return "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": " + arguments + "}\n</tool_call>";
}

/// What a client makes of a stream's deltas.
struct Message {
  std::string content, reasoning, finish;
  std::map<int, Json> calls;
};
Message message_of(const std::vector<Json>& chunks) {
  Message out;
  for (const auto& chunk : chunks) {
    if (chunk["choices"].empty()) continue;
    const Json& choice = chunk["choices"][0];
    const Json& delta = choice["delta"];
    out.content += delta.value("content", "");
    out.reasoning += delta.value("reasoning", "");
    CHECK(delta.value("reasoning", "") == delta.value("reasoning_content", ""));
    if (!choice["finish_reason"].is_null()) out.finish = choice["finish_reason"];
    if (!delta.contains("tool_calls")) continue;
    CHECK(delta["tool_calls"].size() == 1);
    const Json& part = delta["tool_calls"][0];
    const int index = part["index"];
    if (!out.calls.contains(index)) {
      CHECK(part["id"].get<std::string>().starts_with("chatcmpl-tool-"));
      CHECK(part["type"] == "function");
      out.calls[index] = {{"name", part["function"]["name"]}, {"arguments", ""}};
    } else {
      CHECK_FALSE(part.contains("id"));
      CHECK_FALSE(part["function"].contains("name"));
    }
    out.calls[index]["arguments"] =
        out.calls[index]["arguments"].get<std::string>() + part["function"].value("arguments", "");
  }
  return out;
}

/// The message of the whole answer and that of the stream, which must be equal.
Json ask_twice(RunningServer& server, const std::string& fields) {
  const Json choice = server.chat(with(fields))["choices"][0];
  const Json& whole = choice["message"];
  const Message streamed = message_of(events(server.ask(with(fields + R"(,"stream":true)")).body));
  CHECK(streamed.content == (whole["content"].is_null() ? "" : whole["content"].get<std::string>()));
  CHECK(streamed.reasoning ==
        (whole.value("reasoning", Json()).is_null() ? "" : whole["reasoning"].get<std::string>()));
  CHECK(streamed.finish == choice["finish_reason"].get<std::string>());
  const Json calls = whole.value("tool_calls", Json::array());
  REQUIRE(streamed.calls.size() == calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    CHECK(streamed.calls.at(static_cast<int>(i))["name"] == calls[i]["function"]["name"]);
    CHECK(streamed.calls.at(static_cast<int>(i))["arguments"] == calls[i]["function"]["arguments"]);
  }
  return choice;
}

serve::MessageForm hermes() { return {.tools = &qwen_vl::tools}; }

}  // namespace

TEST_CASE("tools: a call is read from the answer, its arguments as the model wrote them") {
  RunningServer server(with_tools());
  const std::string arguments = R"({"city": "Zürich \"HB\"", "days":2, "deep": [{"a": "}]</tool_call>"}]})";
  server.script.say(server.files(), "Let me look.\n" + call("weather", arguments));
  const Json choice = ask_twice(server, tools + R"(,"max_tokens":200)");
  CHECK(choice["finish_reason"] == "tool_calls");
  CHECK(choice["message"]["content"] == "Let me look.\n");
  REQUIRE(choice["message"]["tool_calls"].size() == 1);
  const Json& one = choice["message"]["tool_calls"][0];
  CHECK(one["type"] == "function");
  CHECK(one["id"].get<std::string>().starts_with("chatcmpl-tool-"));
  CHECK(one["function"]["name"] == "weather");
  CHECK(one["function"]["arguments"] == arguments);
  CHECK(server.files().tokenizer.decode(server.script.last.ids).find("<tools>\n{\"type\": \"function\"") !=
        std::string::npos);
}

TEST_CASE("tools: parallel calls have their order and their own ids; parallel_tool_calls false keeps the first") {
  RunningServer server(with_tools());
  server.script.say(server.files(),
                    call("clock", "{}") + "\n" + call("weather", R"({"city":"Rom","days":1})") + " bye");
  const Json choice = ask_twice(server, tools + R"(,"max_tokens":200)");
  const Json& calls = choice["message"]["tool_calls"];
  REQUIRE(calls.size() == 2);
  CHECK(calls[0]["function"]["name"] == "clock");
  CHECK(calls[1]["function"]["arguments"] == R"({"city":"Rom","days":1})");
  CHECK(calls[0]["id"] != calls[1]["id"]);
  CHECK(choice["message"]["content"].is_null());
  CHECK(ask_twice(server, tools + R"(,"parallel_tool_calls":false,"max_tokens":200)")["message"]["tool_calls"].size() ==
        1);
}

TEST_CASE("tools: what only looks like a call is content") {
  RunningServer server(with_tools());
  for (const std::string text : {"a <tool_cal", "<tool_call>nothing", "x <tool_call>\n[1]</tool_call>",
                                 "<tool_call>{\"name\": \"f\"}</tool_call>", "<tool_call>{\"name\": \"f\", \"arg"}) {
    CAPTURE(text);
    server.script.say(server.files(), text);
    const Json choice = server.chat(with(tools + R"(,"max_tokens":200)"))["choices"][0];
    CHECK(choice["message"]["content"] == text);
    CHECK_FALSE(choice["message"].contains("tool_calls"));
    CHECK(choice["finish_reason"] == "stop");
  }
  // The same if calls are not to be read.
  server.script.say(server.files(), call("clock", "{}"));
  CHECK(server.chat(with(tools + R"(,"tool_choice":"none","max_tokens":200)"))["choices"][0]["message"]["content"] ==
        call("clock", "{}"));
}

TEST_CASE("tools: required and named calls come whatever the model says, and fit their schemas") {
  RunningServer server(roomy());  // no flag is needed
  server.script.flat = true;
  for (int seed = 0; seed < 6; ++seed) {
    const std::string fields = cat(tools, R"(,"max_tokens":390,"temperature":1.5,"seed":)", seed);
    const Json required = ask_twice(server, fields + R"(,"tool_choice":"required","parallel_tool_calls":false)");
    REQUIRE(required["message"]["tool_calls"].size() == 1);
    CHECK(required["finish_reason"] == "tool_calls");
    const Json named =
        ask_twice(server, fields + R"(,"tool_choice":{"type":"function","function":{"name":"weather"}})");
    REQUIRE(named["message"]["tool_calls"].size() == 1);
    CHECK(named["finish_reason"] == "stop");
    const Json& function = named["message"]["tool_calls"][0]["function"];
    CHECK(function["name"] == "weather");
    const Json arguments = Json::parse(function["arguments"].get<std::string>());
    CHECK(arguments["city"].is_string());
    CHECK((arguments["days"] >= 1 && arguments["days"] <= 9));
  }
}

TEST_CASE("tools: each bad request gets its param") {
  RunningServer server(with_tools());
  const std::vector<std::pair<std::string, std::string>> table = {
      {R"("tools":{})", "tools"},
      {R"("tools":[7])", "tools.0"},
      {R"("tools":[{"type":"web_search"}])", "tools.0.type"},
      {R"("tools":[{"type":"function","function":{}}])", "tools.0.function.name"},
      {R"("tools":[{"type":"function","function":{"name":"f","parameters":7}}])", "tools.0.function.parameters"},
      {tools + R"(,"tool_choice":"some")", "tool_choice"},
      {tools + R"(,"tool_choice":{"type":"function"})", "tool_choice"},
      {tools + R"(,"tool_choice":{"type":"function","function":{"name":"nobody"}})", "tool_choice"},
      {R"("tool_choice":"required")", "tool_choice"},
      {tools + R"(,"tool_choice":"required","guided_regex":"a")", "guided_regex"},
      {tools + R"(,"parallel_tool_calls":"never")", "parallel_tool_calls"},
      {R"("tools":[{"type":"function","function":{"name":"f","parameters":{"not":{}}}}],"tool_choice":"required")",
       "tools"}};
  for (const auto& [fields, param] : table) {
    CAPTURE(fields);
    const auto reply = server.ask(with(fields));
    CHECK(reply.status == 400);
    CHECK(Json::parse(reply.body)["error"]["param"] == param);
  }
  RunningServer plain(roomy());
  CHECK(plain.ask(with(tools)).status == 400);
  CHECK(Json::parse(plain.ask(with(tools)).body)["error"]["message"].get<std::string>().find(
            "--enable-auto-tool-choice") != std::string::npos);
}

TEST_CASE("reasoning: a thought is told apart from the content, in whole answers and streams") {
  RunningServer server(with_reasoning());
  struct Case {
    std::string text, reasoning, content;
  };
  const std::vector<Case> table = {{"<think>\nSo, 6 x 7.\n</think>\n\nIt is 42.", "\nSo, 6 x 7.\n", "\n\nIt is 42."},
                                   {"So, 6 x 7.</think>It is 42.", "So, 6 x 7.", "It is 42."},
                                   {"I never say it", "I never say it", ""},
                                   {"a</thin b</think>c</think>d", "a</thin b", "c</think>d"}};
  for (const auto& c : table) {
    CAPTURE(c.text);
    server.script.say(server.files(), c.text);
    const Json message = ask_twice(server, R"("max_tokens":100)")["message"];
    CHECK(message["reasoning"] == c.reasoning);
    CHECK(message["reasoning_content"] == c.reasoning);
    CHECK(message["content"] == (c.content.empty() ? Json() : Json(c.content)));
    const Json hidden = ask_twice(server, R"("max_tokens":100,"include_reasoning":false)")["message"];
    CHECK(hidden["reasoning"].is_null());
    CHECK(hidden["content"] == (c.content.empty() ? Json() : Json(c.content)));
    const Json off =
        ask_twice(server, R"("max_tokens":100,"chat_template_kwargs":{"enable_thinking":false})")["message"];
    CHECK(off["content"] == c.text);
    CHECK_FALSE(off.contains("reasoning"));
  }
  server.script.say(server.files(), "hm</think>" + call("clock", "{}"));
  const Json both = ask_twice(server, tools + R"(,"max_tokens":100)")["message"];
  CHECK(both["reasoning"] == "hm");
  CHECK(both["tool_calls"][0]["function"]["name"] == "clock");
}

TEST_CASE("reasoning: a grammar binds what comes behind the thought") {
  RunningServer server(with_reasoning());
  server.script.say(server.files(), "<think>any words</think>and more");
  const Json message =
      ask_twice(server, R"("guided_choice":["and more!"],"max_tokens":100,"temperature":0)")["message"];
  CHECK(message["reasoning"] == "any words");
  CHECK(message["content"] == "and more!");
}

TEST_CASE("tool parser: however an answer is cut into pieces, it is the same message") {
  const std::vector<std::string> texts = {
      "Hi " + call("f", R"({"a": 1, "b": "x\"}]", "c": [1, {"d": null}]})") + "\n" + call("g", "{ }") + " end",
      "<tool_call>{\"arguments\": {\"z\": 1}, \"name\": \"late\"}</tool_call>",
      "<tool_call>{\"name\": \"n\", \"arguments\": 12 , \"more\": \"name\"}",
      "<tool_call>{\"name\": \"a\\u00e9\\\"b\", \"arguments\": \"text\"}</tool_call>",
      "<<tool_call>{\"name\": \"n\", \"arguments\": {}}",
      "<tool_call> {\"x\": {\"name\": \"inner\", \"arguments\": {}}, \"name\": \"outer\", \"arguments\": {}} "
      "</tool_call>"};
  std::mt19937 random(3);
  for (const auto& text : texts) {
    CAPTURE(text);
    const auto whole = serve::parse_message(hermes(), text);
    REQUIRE(whole.calls.size() >= 1);
    for (int round = 0; round < 50; ++round) {
      serve::MessageParser parser(hermes());
      std::string content;
      std::vector<serve::ToolCallPart> calls;
      const auto take = [&](const serve::MessagePiece& piece) {
        content += piece.content;
        for (const auto& part : piece.calls) {
          if (part.call == static_cast<int>(calls.size())) calls.push_back({part.call, part.name, {}});
          calls.at(static_cast<std::size_t>(part.call)).arguments += part.arguments;
        }
      };
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t n = 1 + random() % 7;
        take(parser.push(text.substr(at, n)));
        at += n;
      }
      take(parser.finish());
      CHECK(content == whole.content);
      REQUIRE(calls.size() == whole.calls.size());
      for (std::size_t i = 0; i < calls.size(); ++i) {
        CHECK(calls[i].name == whole.calls[i].name);
        CHECK(calls[i].arguments == whole.calls[i].arguments);
      }
    }
  }
  CHECK(serve::parse_message(hermes(), texts[1]).calls[0].arguments == "{\"z\": 1}");
  CHECK(serve::parse_message(hermes(), texts[2]).calls[0].arguments == "12");
  CHECK(serve::parse_message(hermes(), texts[3]).calls[0].name == "a\xc3\xa9\"b");
  CHECK(serve::parse_message(hermes(), texts[5]).calls[0].name == "outer");
}
