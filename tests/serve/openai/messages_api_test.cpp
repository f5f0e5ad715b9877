#include <string>
#include <vector>

#include "serve/named_events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

const std::string path = "/v1/messages";
const std::string asked = R"("max_tokens":100,"messages":[{"role":"user","content":"Hello"}])";

Json whole(RunningServer& server, const std::string& fields) {
  const auto reply = server.ask("{" + fields + "}", path);
  if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
  return Json::parse(reply.body);
}
/// The content blocks that a client puts together from a stream.
Json blocks_of(const std::vector<Json>& events) {
  Json blocks = Json::array();
  for (const auto& event : events) {
    if (event["type"] == "content_block_start") {
      CHECK(event["index"] == blocks.size());
      blocks.push_back(event["content_block"]);
    } else if (event["type"] == "content_block_delta") {
      Json& block = blocks[event["index"].get<std::size_t>()];
      const Json& delta = event["delta"];
      if (delta["type"] == "text_delta")
        block["text"] = block["text"].get<std::string>() + delta["text"].get<std::string>();
      if (delta["type"] == "thinking_delta")
        block["thinking"] = block["thinking"].get<std::string>() + delta["thinking"].get<std::string>();
      if (delta["type"] == "input_json_delta")
        block["json"] = block.value("json", "") + delta["partial_json"].get<std::string>();
    }
  }
  for (auto& block : blocks)
    if (block.contains("json")) block["input"] = Json::parse(block["json"].get<std::string>()), block.erase("json");
  for (auto& block : blocks)
    if (block.contains("id")) block.erase("id");
  return blocks;
}
Json without_ids(Json blocks) {
  for (auto& block : blocks) block.erase("id");
  return blocks;
}

}  // namespace

TEST_CASE("messages: an answer has the shape that Anthropic's clients read") {
  RunningServer server;
  const Json json = whole(server, asked + R"(,"model":"tiny","system":"Be kind.")");
  CHECK(json["type"] == "message");
  CHECK(json["role"] == "assistant");
  CHECK(json["id"].get<std::string>().starts_with("msg_"));
  CHECK(json["content"] == Json::parse(R"([{"type":"text","text":"The answer is 42."}])"));
  CHECK(json["stop_reason"] == "end_turn");
  CHECK(json["stop_sequence"].is_null());
  CHECK(json["usage"]["output_tokens"] == server.script.ids.size());
  const auto prompt = server.files().tokenizer.encode(
      "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
  CHECK(server.script.last.ids == prompt);
  CHECK(json["usage"]["input_tokens"] == prompt.size());
  const Json count = Json::parse(
      server.ask(R"({"system":"Be kind.","messages":[{"role":"user","content":"Hello"}]})", path + "/count_tokens")
          .body);
  CHECK(count["input_tokens"] == prompt.size());
  const Json cut = whole(server, R"("max_tokens":2,"messages":[{"role":"user","content":"Hello"}])");
  CHECK(cut["stop_reason"] == "max_tokens");
  const Json stopped = whole(server, asked + R"(,"stop_sequences":["swer"])");
  CHECK(stopped["stop_reason"] == "stop_sequence");
  CHECK(stopped["stop_sequence"] == "swer");
}

TEST_CASE("messages: a stream has the blocks of the whole answer, calls and thoughts too") {
  Setup setup = with_tools();
  setup.service.request_defaults.reasoning = true;
  RunningServer server(setup);
  server.script.say(server.files(),
                    "<think>hm</think>So:\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
                    "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>");
  const std::string fields =
      asked +
      R"(,"tools":[{"name":"f","input_schema":{"type":"object"}},{"name":"g","input_schema":{"type":"object"}}])";
  const Json json = whole(server, fields);
  REQUIRE(json["content"].size() == 4);
  CHECK(json["content"][0]["thinking"] == "hm");
  CHECK(json["content"][1]["text"] == "So:\n");
  CHECK(json["content"][2]["name"] == "f");
  CHECK(json["content"][2]["input"] == Json{{"a", 1}});
  CHECK(json["content"][2]["id"].get<std::string>().starts_with("toolu_"));
  CHECK(json["stop_reason"] == "tool_use");
  const auto streamed = named_events(server.ask("{" + fields + R"(,"stream":true})", path).body);
  CHECK(streamed.front()["type"] == "message_start");
  CHECK(streamed.front()["message"]["usage"]["input_tokens"] == json["usage"]["input_tokens"]);
  CHECK(streamed.back()["type"] == "message_stop");
  const Json& end = streamed[streamed.size() - 2];
  CHECK(end["delta"]["stop_reason"] == "tool_use");
  CHECK(end["usage"]["output_tokens"] == json["usage"]["output_tokens"]);
  CHECK(blocks_of(streamed) == without_ids(json["content"]));
  CHECK(whole(server, asked + R"(,"thinking":{"type":"disabled"})")["content"][0]["type"] == "text");
}

TEST_CASE("messages: --stream-interval joins tokens into deltas; the first comes at once, none is lost") {
  const auto stream = [](int interval) {
    Setup setup;
    setup.service.request_defaults.stream_interval = interval;
    RunningServer server(setup);
    server.script.say(server.files(), "a b c d e f g h i j k l m n o p q r s t u v w x y z");
    return named_events(server.ask("{" + asked + R"(,"stream":true})", path).body);
  };
  const auto deltas = [](const std::vector<Json>& events) {
    std::vector<std::string> out;
    for (const auto& event : events)
      if (event["type"] == "content_block_delta") out.push_back(event["delta"]["text"]);
    return out;
  };
  const auto single = stream(1), joined = stream(4);
  CHECK(blocks_of(joined) == blocks_of(single));
  const auto one = deltas(single), four = deltas(joined);
  CHECK(one.size() >= 26);
  REQUIRE(four.size() == 1 + (one.size() - 1 + 3) / 4);
  CHECK(four[0] == one[0]);
  CHECK(four[1] == one[1] + one[2] + one[3] + one[4]);
}

TEST_CASE("messages: calls, results and images of earlier turns reach the prompt") {
  RunningServer server(with_tools());
  whole(server, R"("max_tokens":5,"messages":[
      {"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/bmp","data":"Qk1GAAAAAAAAADYAAAAoAAAAAgAAAAIAAAABABgAAAAAABAAAAATCwAAEwsAAAAAAAAAAAAAAAD/AP8AAAD/AAD///8AAA=="}},{"type":"text","text":"?"}]},
      {"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":""},{"type":"tool_use","id":"t1","name":"f","input":{"a":1}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"12 mm"}]}]}])");
  const std::string prompt = server.files().tokenizer.decode(server.script.last.ids);
  CHECK(server.script.last.grids.size() == 1);
  CHECK(prompt.find("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>") != std::string::npos);
  CHECK(prompt.find("<tool_response>\n12 mm\n</tool_response>") != std::string::npos);
}

TEST_CASE("messages: errors have Anthropic's form, a key may come as x-api-key") {
  Setup setup;
  setup.routes.api_keys = {"secret"};
  RunningServer server(setup);
  const auto ask = [&](const std::string& body, const std::string& headers) {
    return Client(server.http.port()).ask("POST", path, body, headers);
  };
  CHECK(ask("{" + asked + "}", "").status == 401);
  CHECK(ask("{" + asked + "}", "X-Api-Key: wrong\r\n").status == 401);
  CHECK(ask("{" + asked + "}", "X-Api-Key: secret\r\n").status == 200);
  for (const std::string body :
       {"{", R"({"messages":[]})", R"({"max_tokens":5})",
        R"({"max_tokens":5,"messages":[{"role":"robot","content":"x"}]})",
        R"({"max_tokens":5,"messages":[{"role":"user","content":[{"type":"video"}]}]})",
        R"({"max_tokens":5,"messages":[{"role":"user","content":"x"}],"tool_choice":7,"tools":[{"name":"f"}]})",
        R"({"max_tokens":5,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"x"}})",
        R"({"max_tokens":5,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"any"}})",
        R"({"max_tokens":5,"messages":[{"role":"user","content":"x"}],"temperature":9})"}) {
    CAPTURE(body);
    const auto reply = ask(body, "X-Api-Key: secret\r\n");
    CHECK(reply.status == 400);
    const Json json = Json::parse(reply.body);
    CHECK(json["type"] == "error");
    CHECK(json["error"]["type"] == "invalid_request_error");
    CHECK_FALSE(json["error"]["message"].get<std::string>().empty());
  }
}
