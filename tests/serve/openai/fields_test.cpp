#include <lamina/serve/openai/request/request_fields.hpp>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include "serve/events.hpp"
#include "serve/running_server.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;
using serve::RequestField;

namespace {

/// The names that vLLM has; tests/reference/serving_lists.py says of which versions.
Json vllm_names(const char* kind) {
  std::ifstream in(LAMINA_GOLDEN_DIR "/serve/vllm_names.json");
  return Json::parse(in)[kind];
}

std::string with_value(const RequestField& field, const std::string& json) {
  return with(cat("\"", field.name, "\":", json));
}

std::vector<std::string> harmless_values(const RequestField& field) {
  std::vector<std::string> out{"null"};
  std::istringstream in{std::string(field.inert)};
  for (std::string value; std::getline(in, value, '|');) out.push_back(value);
  return out;
}

}  // namespace

TEST_CASE("fields: each that vLLM has is honoured, without effect for a reason, or refused") {
  const Json names = vllm_names("fields");
  REQUIRE(names.size() >= 75);
  for (const auto& [name, versions] : names.items()) {
    CAPTURE(name);
    CHECK(serve::request_field(name));
  }
  std::set<std::string_view> seen;
  for (const auto& field : serve::request_fields()) {
    CAPTURE(field.name);
    CHECK(seen.insert(field.name).second);
    CHECK((names.contains(std::string(field.name)) || field.name == "prompt_token_ids"));
    CHECK((field.status == io::KeyStatus::honoured || !field.note.empty()));
  }
}

TEST_CASE("fields: one that is refused is named with the reason, and taken if it asks for nothing") {
  RunningServer server;
  Client client(server.http.port());
  for (const auto& field : serve::request_fields()) {
    if (field.status != io::KeyStatus::refused) continue;
    for (const char* value : {"{\"x\":[1]}", "[7]", "7", "\"x\"", "\"\""}) {
      CAPTURE(field.name, value);
      const auto reply = client.ask("POST", "/v1/chat/completions", with_value(field, value));
      REQUIRE(reply.status == 400);
      const auto error = Json::parse(reply.body)["error"];
      CHECK(error["type"] == "NotImplementedError");
      CHECK(error["param"] == field.name);
      CHECK(error["message"] == cat(field.name, ": is not supported by this server: ", field.note));
    }
    for (const auto& value : harmless_values(field)) {
      CAPTURE(field.name, value);
      CHECK(client.ask("POST", "/v1/chat/completions", with_value(field, value)).status == 200);
    }
  }
}

TEST_CASE("fields: one without effect changes neither prompt nor answer") {
  RunningServer server;
  const auto plain = server.chat(with(""));
  const auto prompt = server.script.last.ids;
  for (const auto& field : serve::request_fields()) {
    if (field.status != io::KeyStatus::accepted) continue;
    for (const char* value : {"true", "false", "3", "\"left\"", "{\"a\":1}"}) {
      CAPTURE(field.name, value);
      const auto answer = server.chat(with_value(field, value));
      CHECK(answer["choices"] == plain["choices"]);
      CHECK(server.script.last.ids == prompt);
    }
  }
}

TEST_CASE("fields: one that works is read, so that a wrong value is refused by its path") {
  RunningServer server;
  Client client(server.http.port());
  for (const auto& field : serve::request_fields()) {
    if (field.status != io::KeyStatus::honoured) continue;
    int refused = 0;
    for (const char* value : {"7", "\"x\""}) {
      const std::string body = field.name == "messages" ? cat("{\"messages\":", value, "}") : with_value(field, value);
      const auto reply = client.ask("POST", "/v1/chat/completions", body);
      if (reply.status == 200) continue;
      CAPTURE(field.name, value, reply.body);
      ++refused;
      const auto error = Json::parse(reply.body)["error"];
      CHECK(error["param"].get<std::string>().starts_with(field.name));
      CHECK(error["message"].get<std::string>().find(field.name == "model" ? "" : cat(field.name)) !=
            std::string::npos);
    }
    CAPTURE(field.name);
    CHECK(refused > 0);
  }
}

TEST_CASE("fields: help says what becomes of each, or of those that hold a word") {
  const auto help = serve::request_fields_help();
  CHECK(help.find("  return_weight_versions                refused, except false: weights have") != std::string::npos);
  CHECK(help.find("  user                                  accepted, without effect: ") != std::string::npos);
  CHECK(help.find("  temperature\n") != std::string::npos);
  CHECK(serve::request_fields_help("guided_json").find("priority") == std::string::npos);
}

TEST_CASE("fields: unknown ones are ignored and listed for the log, ten at most and printable") {
  Json body = Json::object();
  body["temperature"] = 1;
  body["a\nb"] = 1;
  body[std::string(500, 'x')] = Json::object();
  for (int i = 0; i < 50; ++i) body[cat("f", i)] = i;
  const auto unknown = serve::check_request_fields(body);
  REQUIRE(unknown.size() == 10);
  CHECK(unknown[0] == "a?b");
  CHECK(unknown[1].size() == 64);
  CHECK(unknown[2] == "f0");
}

TEST_CASE("errors: a NUL byte does not end a message") {
  RunningServer server;
  const auto reply = Client(server.http.port()).ask("POST", "/v1/chat/completions", with(R"("model":"m\u0000n")"));
  CHECK(Json::parse(reply.body)["error"]["message"] == R"(The model `m\x00n` does not exist.)");
}

TEST_CASE("errors: at most 200 characters of a client's input come back, whatever is wrong") {
  RunningServer server;
  Client client(server.http.port());
  const std::string x(20000, 'x'), quoted = "\"" + x + "\"";
  const auto user = [](const std::string& content) {
    return R"({"messages":[{"role":"user","content":)" + content + "}]}";
  };
  std::vector<std::string> bodies = {
      "{\"messages\":" + x + "}",
      "{\"messages\":[{\"role\":" + quoted + ",\"content\":\"a\"}]}",
      user("[{\"type\":" + quoted + "}]"),
      user("[{\"type\":\"image_url\",\"image_url\":{\"url\":" + quoted + "}}]"),
      user("[{\"type\":\"image_url\",\"image_url\":" + quoted + "}]"),
      user("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,!" + x + "\"}}]"),
      R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":)" + quoted + "}}]}]}",
      R"({"messages":[{"role":"assistant","tool_calls":[{"type":)" + quoted + "}]}]}",
      with("\"logit_bias\":{" + quoted + ":1}"),
      with("\"logit_bias\":{\"1\":" + quoted + "}"),
      with("\"chat_template_kwargs\":{" + quoted + ":1}"),
      with("\"mm_processor_kwargs\":{" + quoted + ":1}"),
      with("\"response_format\":{\"type\":" + quoted + "}"),
      with("\"stop_token_ids\":[" + quoted + "]"),
      with("\"stop\":" + quoted),
      with("\"tools\":[" + quoted + "],\"tool_choice\":\"none\""),
      with("\"tool_choice\":" + quoted),
      with("\"stream_options\":{\"include_usage\":" + quoted + "},\"stream\":true"),
  };
  for (const auto& field : serve::request_fields())
    if (field.status != io::KeyStatus::accepted && field.name != "messages" && field.name != "request_id" &&
        field.name != "guided_regex")  // any text is one
      bodies.push_back(with_value(field, quoted));
  for (const auto& body : bodies) {
    CAPTURE(body.substr(0, 120));
    const auto reply = client.ask("POST", "/v1/chat/completions", body);
    if (body.find("cache_salt") == std::string::npos) CHECK(reply.status != 200);
    CHECK(std::count(reply.body.begin(), reply.body.end(), 'x') <= 210);  // our own words have some
    CHECK(reply.body.size() < 1000);
  }
}

TEST_CASE("fields: return_token_ids gives the ids of the prompt and of each choice, streamed or not") {
  RunningServer server;
  const auto& ids = server.script.ids;
  const auto whole = server.chat(with(R"("return_token_ids":true)"));
  CHECK(whole["prompt_token_ids"] == Json(server.script.last.ids));
  CHECK(whole["choices"][0]["token_ids"] == Json(ids));
  CHECK(server.chat(with(""))["choices"][0]["token_ids"].is_null());
  const auto chunks = events(server.ask(with(R"("return_token_ids":true,"stream":true)")).body);
  CHECK(chunks[0]["prompt_token_ids"] == Json(server.script.last.ids));
  std::vector<int> streamed;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    CHECK(chunks[i].contains("prompt_token_ids") == (i == 0));
    for (const auto& id : chunks[i]["choices"][0].value("token_ids", Json::array())) streamed.push_back(id);
  }
  CHECK(streamed == ids);
  CHECK(content_of(chunks) == "The answer is 42.");
}

TEST_CASE("fields: stream_interval joins tokens into chunks; the first comes at once, none is lost") {
  RunningServer server;
  server.script.say(server.files(), "a b c d e f g h i j k l m n o p q r s t u v w x y z");
  const auto stream = [&](const std::string& fields) {
    return events(server.ask(with("\"stream\":true,\"return_token_ids\":true" + fields)).body);
  };
  const auto sizes = [](const std::vector<Json>& chunks) {
    std::vector<std::size_t> out;
    for (const auto& chunk : chunks)
      if (chunk["choices"][0].contains("token_ids")) out.push_back(chunk["choices"][0]["token_ids"].size());
    return out;
  };
  const auto single = stream(""), joined = stream(",\"stream_interval\":4");
  CHECK(content_of(joined) == content_of(single));
  const auto one = sizes(single), four = sizes(joined);
  CHECK(std::count(one.begin(), one.end(), 1u) == static_cast<std::ptrdiff_t>(server.script.ids.size()));
  REQUIRE(four.size() >= 3);
  CHECK(four.front() == 1);
  for (std::size_t i = 1; i + 1 < four.size(); ++i) CHECK(four[i] == 4);
}

TEST_CASE("fields: the operator's defaults hold where a request says nothing") {
  RunningServer server({.service = {.served_names = {"tiny"},
                                    .request_defaults = {.template_kwargs = {{"add_vision_id", true}},
                                                         .exclude_unused_tools = true,
                                                         .return_tokens_as_ids = true,
                                                         .stream_interval = 3}}});
  const auto limits = server.service.limits();
  const auto read = [&](const std::string& fields) {
    return serve::read_chat_request(Json::parse(with(fields)), limits, {});
  };
  const auto variables = [&](const std::string& fields) { return read(fields).template_options.variables; };
  CHECK(variables("")["add_vision_id"] == true);
  CHECK(variables(R"("chat_template_kwargs":{"add_vision_id":false})")["add_vision_id"] == false);
  CHECK(variables(R"("chat_template_kwargs":{"enable_thinking":true})")["add_vision_id"] == true);
  CHECK(read("").return_tokens_as_ids);
  CHECK_FALSE(read(R"("return_tokens_as_token_ids":false)").return_tokens_as_ids);
  CHECK(read("").stream_interval == 3);
  CHECK(read(R"("stream_interval":2)").stream_interval == 3);
  CHECK(read(R"("stream_interval":9)").stream_interval == 9);
  const std::string tools = R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none")";
  CHECK(read(tools).template_options.tools.empty());
  CHECK(serve::read_chat_request(Json::parse(with(tools)), {.chat = &qwen3_vl::chat, .vocab_size = 9}, {})
            .template_options.tools.size() == 1);
}

TEST_CASE("fields: texts stand for numbers and truth values, and truth values for numbers, as pydantic takes them") {
  RunningServer server;
  const auto tokens = [&](const std::string& fields) {
    return server.chat(with(fields))["usage"]["completion_tokens"];
  };
  for (const char* two : {"2", "2.0", "\"2\"", "\" 2 \"", "\"+2\"", "\"2.0\""}) {
    CAPTURE(two);
    CHECK(tokens(cat("\"max_tokens\":", two)) == 2);
  }
  CHECK(tokens(R"("max_tokens":true)") == 1);
  CHECK(tokens(R"("temperature":"0.5","top_p":"1","max_tokens":3)") == 3);
  for (const char* yes : {"true", "1", "1.0", "\"yes\"", "\"On\"", "\"T\"", "\"1\""}) {
    CAPTURE(yes);
    CHECK(tokens(cat("\"ignore_eos\":", yes, ",\"max_tokens\":40")) == 40);
  }
  for (const char* no : {"false", "0", "\"off\"", "\"N\""}) CHECK(tokens(cat("\"ignore_eos\":", no)) < 40);
  for (const char* field :
       {"\"max_tokens\":\"2.5\"", "\"max_tokens\":\"two\"", "\"max_tokens\":\"\"", "\"ignore_eos\":2",
        "\"ignore_eos\":\"maybe\"", "\"temperature\":\"0,5\"", "\"temperature\":\"nan\"", "\"model\":7"}) {
    CAPTURE(field);
    CHECK(server.ask(with(field)).status == 400);
  }
}
