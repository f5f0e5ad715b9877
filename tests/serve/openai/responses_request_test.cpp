#include <set>
#include <string>
#include <utility>
#include <vector>

#include "serve/named_events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

const std::string route = "/v1/responses";
const std::string small_image =
    "data:image/bmp;base64,"
    "Qk1GAAAAAAAAADYAAAAoAAAAAgAAAAIAAAABABgAAAAAABAAAAATCwAAEwsAAAAAAAAAAAAAAAD/AP8AAAD/AAD///8AAA==";

/// The prompt that a response's input becomes.
std::string prompt_of(RunningServer& server, const std::string& fields) {
  const auto reply = server.ask("{\"max_output_tokens\":2," + fields + "}", route);
  if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
  return server.files().tokenizer.decode(server.script.last.ids);
}
std::string with_input(const serve::RequestField& field, const std::string& value) {
  return field.name == "input" ? cat("{\"input\":", value, "}")
                               : cat("{\"input\":\"x\",\"", field.name, "\":", value, "}");
}

}  // namespace

TEST_CASE("responses: items become turns; a thought, a text and calls in a row are one") {
  RunningServer server(with_tools());
  const std::string prompt = prompt_of(server, cat(R"("instructions":"Be brief.","input":[
      {"role":"user","content":[{"type":"input_text","text":"Rain?"},
                                {"type":"input_image","image_url":")",
                                                   small_image, R"(","detail":"auto"}]},
      {"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"A question."}]},
      {"type":"message","id":"msg_1","role":"assistant","status":"completed",
       "content":[{"type":"output_text","text":"I look.","annotations":[]}]},
      {"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"{\"a\": 1}"},
      {"type":"function_call","call_id":"call_2","name":"g","arguments":"{}"},
      {"type":"function_call_output","call_id":"call_1","output":"12 mm"},
      {"type":"function_call_output","call_id":"call_2","output":[{"type":"input_text","text":"noon"}]},
      {"type":"message","role":"user","content":"Thanks"}])"));
  CHECK(server.script.last.grids.size() == 1);
  CHECK(prompt.starts_with("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nRain?<|vision_start|>"));
  CHECK(prompt.find("<|im_start|>assistant\nI look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": "
                    "1}}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call><|im_end|>") !=
        std::string::npos);
  CHECK(prompt.find("<tool_response>\n12 mm\n</tool_response>\n<tool_response>\nnoon\n</tool_response>") !=
        std::string::npos);
  CHECK(prompt.ends_with("<|im_start|>user\nThanks<|im_end|>\n<|im_start|>assistant\n"));
}

TEST_CASE("responses: an answer's output can be sent back as it came") {
  RunningServer server(with_tools());
  server.script.say(server.files(), "Yes\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>");
  const Json first = Json::parse(
      server.ask(R"({"input":"Rain?","tools":[{"type":"function","name":"f"}],"tool_choice":"auto"})", route).body);
  Json input = Json::array({{{"role", "user"}, {"content", "Rain?"}}});
  for (const auto& item : first["output"]) input.push_back(item);
  input.push_back({{"type", "function_call_output"}, {"call_id", first["output"][1]["call_id"]}, {"output", "no"}});
  const std::string prompt = prompt_of(server, cat("\"input\":", input.dump()));
  CHECK(prompt.find("assistant\nYes\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}") != std::string::npos);
}

TEST_CASE("responses: mistakes are named as they were sent") {
  RunningServer server(with_tools());
  const std::string tools = R"("input":"x","tools":[{"type":"function","name":"f"}])";
  for (const auto& [fields, param] : std::vector<std::pair<std::string, std::string>>{
           {"", "input"},
           {R"("input":7)", "input"},
           {R"("input":[])", "input"},
           {R"("input":[7])", "input.0"},
           {R"("input":[{"role":"robot","content":"x"}])", "input.0.role"},
           {R"("input":[{"role":"user"}])", "input.0.content"},
           {R"("instructions":"a","input":[{"role":"user","content":"b"},{"role":"user","content":[{"type":"x"}]}])",
            "input.1.content.0.type"},
           {R"("input":[{"role":"user","content":[{"type":"input_image"}]}])", "input.0.content.0.image_url"},
           {R"("input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}])",
            "input.0.content.0.file_id"},
           {R"("input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}])", "input.0.content.0.type"},
           {R"("input":[{"type":"item_reference","id":"msg_1"}])", "input.0"},
           {R"("input":[{"type":"web_search_call","id":"ws_1"}])", "input.0.type"},
           {R"("input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{"}])", "input.0.arguments"},
           {R"("input":[{"type":"reasoning","summary":[],"encrypted_content":"x"}])", "input.0.encrypted_content"},
           {R"("input":"x","max_output_tokens":0)", "max_output_tokens"},
           {R"("input":"x","max_output_tokens":100000)", "max_output_tokens"},
           {R"("input":"x","metadata":{"a":1})", "metadata.a"},
           {R"("input":"x","text":{"format":{"type":"xml"}})", "text.format.type"},
           {R"("input":"x","text":{"format":{"type":"json_schema","name":"a"}})", "text.format.schema"},
           {R"("input":"x","text":{"verbosity":"low"})", "text.verbosity"},
           {R"("input":"x","reasoning":{"effort":"extreme"})", "reasoning.effort"},
           {R"("input":"x","reasoning":{"summary":"detailed"})", "reasoning.summary"},
           {R"("input":"x","include":["everything"])", "include.0"},
           {R"("input":"x","truncation":"some")", "truncation"},
           {R"("input":"x","tools":[{"type":"web_search"}])", "tools.0.type"},
           {R"("input":"x","tools":[{"type":"function"}])", "tools.0.name"},
           {R"("input":"x","tool_choice":"required")", "tool_choice"},
           {tools + R"(,"tool_choice":{"type":"function","name":"g"})", "tool_choice"},
           {tools + R"(,"tool_choice":{"type":"web_search_preview"})", "tool_choice.type"}}) {
    CAPTURE(fields);
    const auto reply = server.ask("{" + fields + "}", route);
    CHECK(reply.status == 400);
    const Json error = Json::parse(reply.body)["error"];
    CHECK(error["param"] == param);
    CHECK_FALSE(error["message"].get<std::string>().empty());
  }
  CHECK(server.ask(R"({"input":"x","tools":[],"tool_choice":"auto"})", route).status == 200);
  CHECK(server.ask(R"({"input":"x","model":"other"})", route).status == 404);
}

TEST_CASE("responses: each field is honoured, without effect for a reason, or refused by name") {
  RunningServer server;
  Client client(server.http.port());
  const auto ask = [&](const std::string& body) { return client.ask("POST", route, body); };
  std::set<std::string_view> seen;
  for (const auto& field : serve::responses_fields()) {
    CAPTURE(field.name);
    CHECK(seen.insert(field.name).second);
    CHECK((field.status == io::KeyStatus::honoured || !field.note.empty()));
    CHECK((field.name == "input" || ask(with_input(field, "null")).status == 200));
    if (!field.inert.empty()) CHECK(ask(with_input(field, std::string(field.inert))).status == 200);
    int refused = 0;
    for (const char* value : {"7", "\"x\"", "[7]"}) {
      const auto reply = ask(with_input(field, value));
      refused += reply.status != 200;
      if (reply.status == 200) continue;
      CAPTURE(value, reply.body);
      CHECK(Json::parse(reply.body)["error"]["param"].get<std::string>().starts_with(field.name));
    }
    if (field.status == io::KeyStatus::honoured) CHECK(refused > 0);
    if (field.status == io::KeyStatus::accepted) CHECK(refused == 0);
    if (field.status == io::KeyStatus::refused) CHECK(refused == 3);
  }
}

TEST_CASE("responses: none is stored, so that none can be fetched, deleted or cancelled") {
  RunningServer server;
  for (const auto& [method, rest] : std::vector<std::pair<std::string, std::string>>{
           {"GET", ""}, {"DELETE", ""}, {"POST", "/cancel"}, {"GET", "/input_items"}}) {
    CAPTURE(method, rest);
    const auto known = Client(server.http.port()).ask(method, route + "/resp_1" + rest);
    CHECK(known.status == 404);
    CHECK(Json::parse(known.body)["error"]["message"].get<std::string>().find("does not store") != std::string::npos);
    CHECK(Client(server.http.port()).ask(method, route + "/x" + rest).status == 400);
  }
  CHECK(Client(server.http.port()).ask("POST", route + "/resp_1", "{}").status == 405);
  CHECK(Client(server.http.port()).ask("GET", route + "/resp_1/nothing").status == 404);
  CHECK(Client(server.http.port()).ask("GET", route).status == 405);
}

TEST_CASE("responses: guards of other routes hold here: key, depth, sizes, UTF-8, the context") {
  Setup setup = roomy();
  setup.routes.api_keys = {"secret"};
  setup.limits.body_bytes = 100'000;
  RunningServer server(setup);
  const auto status = [&](const std::string& body, const std::string& headers = "Authorization: Bearer secret\r\n") {
    return Client(server.http.port()).ask("POST", route, body, headers).status;
  };
  CHECK(status(R"({"input":"x"})") == 200);
  CHECK(status(R"({"input":"x"})", "") == 401);
  CHECK(Client(server.http.port()).ask("GET", route + "/resp_1").status == 401);
  CHECK(status(R"({"input":")" + std::string(100'000, 'x') + "\"}") == 413);
  CHECK(status(R"({"input":")" + std::string(90'000, 'x') + "\"}") == 400);  // beyond the context
  CHECK(status(R"({"input":"x","truncation":"auto","instructions":")" + std::string(1'000, 'x') + "\"}") == 200);
  CHECK(status(R"({"input":")"
               "\xff"
               R"("})") == 400);
  CHECK(status(R"({"input":)" + std::string(200, '[') + std::string(200, ']') + "}") == 400);
  CHECK(status(R"({"input":[)" + std::string(4200, ' ') + "]}") == 400);
  std::string many = R"({"role":"user","content":""})";
  for (int i = 0; i < 1500; ++i) many += R"(,{"role":"user","content":""})";
  CHECK(status(R"({"input":[)" + many + "]}") == 400);
  CHECK(server.becomes_idle());
  CHECK(server.http.body_bytes() == 0);
}

TEST_CASE("responses: who leaves a stream ends its request, who reads nothing is closed, a failure is an event") {
  Setup setup = roomy();
  RunningServer server(setup);
  server.script.say(server.files(), "word ", false);
  server.script.step = std::chrono::milliseconds(2);
  {
    Client client(server.http.port());
    client.send(Client::request("POST", route, R"({"input":"x","stream":true})"));
    client.until("response.output_text.delta");
  }
  CHECK(server.becomes_idle());
  {
    Client client(server.http.port());  // not streamed
    client.send(Client::request("POST", route, R"({"input":"x"})"));
    while (server.service.load() == 0) std::this_thread::yield();
  }
  CHECK(server.becomes_idle());
  server.script.nan_at = 40;
  const auto events = named_events(server.ask(R"({"input":"x","stream":true})", route).body);
  CHECK(events.back()["type"] == "error");
  CHECK(events.back()["sequence_number"] == events.size() - 1);
  CHECK_FALSE(events.back()["message"].get<std::string>().empty());
  CHECK(server.ask(R"({"input":"x"})", route).status == 500);
}
