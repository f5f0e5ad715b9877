#include <string>
#include <vector>

#include "serve/named_events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

const std::string responses_path = "/v1/responses";

Json response_of(RunningServer& server, const std::string& fields) {
  const auto reply = server.ask("{" + fields + "}", responses_path);
  if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
  return Json::parse(reply.body);
}
std::vector<Json> response_events(RunningServer& server, const std::string& fields) {
  const auto reply = server.ask("{" + fields + R"(,"stream":true})", responses_path);
  if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
  return named_events(reply.body);
}
std::vector<std::string> event_types(const std::vector<Json>& events) {
  std::vector<std::string> out;
  for (const auto& event : events)
    if (out.empty() || out.back() != event["type"]) out.push_back(event["type"]);
  return out;
}
/// Without what differs between two responses of one text.
Json output_without_ids(const Json& response) {
  Json output = response["output"];
  for (auto& item : output) item.erase("id"), item.erase("call_id");
  return output;
}
/// Deltas add up to what their items have when they are done, and those to the output of the response.
void check_response_events(const std::vector<Json>& events) {
  std::vector<std::string> texts;
  Json items = Json::array();
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Json& event = events[i];
    CAPTURE(event.dump());
    CHECK(event["sequence_number"] == i);
    const std::string type = event["type"];
    if (type == "response.output_item.added") {
      CHECK(event["output_index"] == texts.size());
      CHECK(event["item"]["status"] == "in_progress");
      texts.emplace_back();
      items.push_back(event["item"]);
    }
    if (event.contains("item_id")) CHECK(event["item_id"] == items.back()["id"]);
    if (type.ends_with(".delta")) texts.back() += event["delta"].get<std::string>();
    if (type.ends_with("text.done")) CHECK(event["text"] == texts.back());
    if (type.ends_with("arguments.done")) CHECK(event["arguments"] == texts.back());
    if (type == "response.content_part.done") CHECK(event["part"]["text"] == texts.back());
    if (type == "response.output_item.done") {
      CHECK(event["item"]["id"] == items.back()["id"]);
      items.back() = event["item"];
    }
  }
  CHECK(events.back()["response"]["output"] == items);
}

Setup thinking_with_tools() {
  Setup setup = with_tools();
  setup.service.request_defaults.reasoning = true;
  return setup;
}
const std::string function_tools =
    R"("tools":[{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"function","name":"g"}])";

}  // namespace

TEST_CASE("responses: an answer has the shape that OpenAI's clients read") {
  RunningServer server;
  const Json json = response_of(server, R"("model":"tiny","instructions":"Be kind.","input":"Hello","temperature":0.5,
                                     "metadata":{"a":"b"},"max_output_tokens":50)");
  CHECK(json["id"].get<std::string>().starts_with("resp_"));
  CHECK(json["object"] == "response");
  CHECK(json["status"] == "completed");
  CHECK(json["model"] == "tiny");
  CHECK(json["incomplete_details"].is_null());
  CHECK(json["error"].is_null());
  CHECK(output_without_ids(json) ==
        Json::parse(R"([{"type":"message","role":"assistant","status":"completed","content":[
      {"type":"output_text","text":"The answer is 42.","annotations":[],"logprobs":[]}]}])"));
  const auto prompt = server.files().tokenizer.encode(
      "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
  CHECK(server.script.last.ids == prompt);
  CHECK(json["usage"]["input_tokens"] == prompt.size());
  CHECK(json["usage"]["output_tokens"] == server.script.ids.size());
  CHECK(json["usage"]["total_tokens"] == prompt.size() + server.script.ids.size());
  CHECK(json["usage"]["input_tokens_details"]["cached_tokens"] == 0);
  CHECK(json["usage"]["output_tokens_details"]["reasoning_tokens"] == 0);
  CHECK(json["instructions"] == "Be kind.");
  CHECK(json["metadata"] == Json{{"a", "b"}});
  CHECK(json["max_output_tokens"] == 50);
  CHECK(json["temperature"] == 0.5);
  CHECK(json["store"] == false);
  CHECK(json["tools"] == Json::array());
  CHECK(json["text"]["format"]["type"] == "text");
  const Json count =
      Json::parse(server.ask(R"({"instructions":"Be kind.","input":"Hello"})", responses_path + "/input_tokens").body);
  CHECK(count["input_tokens"] == prompt.size());
}

TEST_CASE("responses: an answer that was cut is incomplete") {
  RunningServer server;
  const std::string fields = R"("input":"Hello","max_output_tokens":2)";
  const Json json = response_of(server, fields);
  CHECK(json["status"] == "incomplete");
  CHECK(json["incomplete_details"]["reason"] == "max_output_tokens");
  CHECK(json["output"][0]["status"] == "incomplete");
  const auto events = response_events(server, fields);
  check_response_events(events);
  CHECK(events.back()["type"] == "response.incomplete");
  CHECK(output_without_ids(events.back()["response"]) == output_without_ids(json));
}

TEST_CASE("responses: a stream has OpenAI's events in their order, numbered, and ends with the whole response") {
  RunningServer server;
  const auto events = response_events(server, R"("input":"Hello")");
  check_response_events(events);
  CHECK(event_types(events) == std::vector<std::string>{"response.created", "response.in_progress",
                                                        "response.output_item.added", "response.content_part.added",
                                                        "response.output_text.delta", "response.output_text.done",
                                                        "response.content_part.done", "response.output_item.done",
                                                        "response.completed"});
  CHECK(events.front()["response"]["status"] == "in_progress");
  CHECK(events.front()["response"]["usage"].is_null());
  const Json response = events.back()["response"], json = response_of(server, R"("input":"Hello")");
  CHECK(response["id"] == events.front()["response"]["id"]);
  CHECK(output_without_ids(response) == output_without_ids(json));
  CHECK(response["usage"] == json["usage"]);
}

TEST_CASE("responses: --stream-interval joins tokens into deltas; the first comes at once, none is lost") {
  const auto deltas = [](int interval) {
    Setup setup;
    setup.service.request_defaults.stream_interval = interval;
    RunningServer server(setup);
    server.script.say(server.files(), "a b c d e f g h i j k l m n o p q r s t u v w x y z");
    const auto events = response_events(server, R"("input":"Hello")");
    check_response_events(events);
    std::vector<std::string> out;
    for (const auto& event : events)
      if (event["type"] == "response.output_text.delta") out.push_back(event["delta"]);
    return out;
  };
  const auto one = deltas(1), four = deltas(4);
  CHECK(one.size() >= 26);
  REQUIRE(four.size() == 1 + (one.size() - 1 + 3) / 4);
  CHECK(four[0] == one[0]);
  CHECK(four[1] == one[1] + one[2] + one[3] + one[4]);
}

TEST_CASE("responses: thoughts and calls are items, alike in a stream") {
  RunningServer server(thinking_with_tools());
  server.script.say(server.files(),
                    "<think>hm</think>So:\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
                    "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>");
  const std::string fields = R"("input":"Hello",)" + function_tools;
  const Json json = response_of(server, fields);
  CHECK(output_without_ids(json) == Json::parse(R"([
      {"type":"reasoning","summary":[],"status":"completed","content":[{"type":"reasoning_text","text":"hm"}]},
      {"type":"message","role":"assistant","status":"completed","content":[
          {"type":"output_text","text":"So:\n","annotations":[],"logprobs":[]}]},
      {"type":"function_call","name":"f","status":"completed","arguments":"{\"a\": 1}"},
      {"type":"function_call","name":"g","status":"completed","arguments":"{}"}])"));
  CHECK(json["output"][2]["call_id"].get<std::string>().starts_with("call_"));
  const int thought = json["usage"]["output_tokens_details"]["reasoning_tokens"];
  CHECK(thought > 0);
  CHECK(thought < json["usage"]["output_tokens"]);
  const auto events = response_events(server, fields);
  check_response_events(events);
  CHECK(output_without_ids(events.back()["response"]) == output_without_ids(json));
  CHECK(events.back()["response"]["usage"]["output_tokens_details"] == json["usage"]["output_tokens_details"]);
  CHECK(events.back()["response"]["usage"]["input_tokens_details"]["cached_tokens"] > 0);  // of the same prompt
  const auto types = event_types(events);
  const std::vector<std::string> thinking(types.begin() + 2, types.begin() + 8);
  CHECK(thinking == std::vector<std::string>{"response.output_item.added", "response.content_part.added",
                                             "response.reasoning_text.delta", "response.reasoning_text.done",
                                             "response.content_part.done", "response.output_item.done"});
  const std::vector<std::string> calling(types.end() - 5, types.end() - 1);
  CHECK(calling == std::vector<std::string>{"response.output_item.added", "response.function_call_arguments.delta",
                                            "response.function_call_arguments.done", "response.output_item.done"});
  const Json one = response_of(server, fields + R"(,"parallel_tool_calls":false)");
  CHECK(one["output"].size() == 3);
  CHECK(one["parallel_tool_calls"] == false);
}

TEST_CASE("responses: tool_choice and text.format bind the answer") {
  RunningServer server(with_tools());
  const Json named = response_of(server, R"("input":"Hello","tool_choice":{"type":"function","name":"g"},
      "tools":[{"type":"function","name":"f"},{"type":"function","name":"g","parameters":
                {"type":"object","properties":{"a":{"enum":[7]}},"required":["a"]}}])");
  REQUIRE(named["output"].size() == 1);
  CHECK(named["output"][0]["name"] == "g");
  CHECK(Json::parse(named["output"][0]["arguments"].get<std::string>()) == Json{{"a", 7}});
  const Json form =
      response_of(server, R"("input":"Hello","text":{"format":{"type":"json_schema","name":"x","strict":true,
      "schema":{"type":"object","properties":{"b":{"enum":["yes"]}},"required":["b"]}}})");
  CHECK(Json::parse(form["output"][0]["content"][0]["text"].get<std::string>()) == Json{{"b", "yes"}});
  CHECK(form["text"]["format"]["name"] == "x");
}

TEST_CASE("responses: logprobs come with include or top_logprobs, of each token once") {
  RunningServer server;
  const std::string fields = R"("input":"Hello","include":["message.output_text.logprobs"],"top_logprobs":2)";
  const Json json = response_of(server, fields);
  const Json& entries = json["output"][0]["content"][0]["logprobs"];
  REQUIRE(entries.size() == server.script.ids.size());
  CHECK(entries[0]["top_logprobs"].size() == 2);
  CHECK(entries[0].contains("bytes"));
  const auto events = response_events(server, fields);
  check_response_events(events);
  CHECK(events.back()["response"]["output"][0]["content"][0]["logprobs"] == entries);
  std::size_t sent = 0;
  for (const auto& event : events)
    if (event["type"] == "response.output_text.delta") sent += event["logprobs"].size();
  CHECK(sent + 1 >= entries.size());  // the token that ends the answer has no text
  CHECK(response_of(server, R"("input":"Hello","top_logprobs":1)")["output"][0]["content"][0]["logprobs"].size() > 0);
}

TEST_CASE("responses: an answer without text has no items") {
  RunningServer server;
  server.script.say(server.files(), "");
  CHECK(response_of(server, R"("input":"Hello")")["output"].empty());
  const auto events = response_events(server, R"("input":"Hello")");
  CHECK(event_types(events) ==
        std::vector<std::string>{"response.created", "response.in_progress", "response.completed"});
}
