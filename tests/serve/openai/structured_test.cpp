#include <thread>
#include <vector>

#include "grammar/random_schema.hpp"
#include "serve/events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

/// Says the same in any case: it is the mask that makes an answer of it.
const std::string schema = R"({"type":"object","properties":{"name":{"type":"string","maxLength":12},
    "age":{"type":"integer","minimum":0,"maximum":130},"tags":{"type":"array","items":{"enum":["a","b"]},"maxItems":3}},
    "required":["name","age","tags"]})";
const std::string with_schema =
    R"("response_format":{"type":"json_schema","json_schema":{"name":"person","strict":true,"schema":)" + schema + "}}";

std::string reply_text(const Json& reply) { return reply["choices"][0]["message"]["content"]; }
bool is_person(const std::string& text) {
  const Json value = Json::parse(text, nullptr, false);
  const Json expected = Json::parse(schema);
  return !value.is_discarded() && Validator(expected).holds(value) && value["age"] <= 130;
}
/// A server whose model has no preference among its first tokens, and next to none among the others.
struct FlatServer : RunningServer {
  FlatServer() { script.flat = true; }
};
std::string seeded(const std::string& fields, int seed) { return with(fields + ",\"seed\":" + std::to_string(seed)); }

}  // namespace

TEST_CASE("structured output: whatever the model says, the answer parses and validates, streamed or not") {
  FlatServer server;
  for (int seed = 0; seed < 20; ++seed) {
    const Json reply = server.chat(seeded(with_schema + R"(,"max_tokens":300,"temperature":1.5)", seed));
    INFO(reply_text(reply));
    CHECK(reply["choices"][0]["finish_reason"] == "stop");
    CHECK(is_person(reply_text(reply)));
    const auto streamed =
        server.ask(seeded(with_schema + R"(,"max_tokens":300,"temperature":1.5,"stream":true)", seed));
    CHECK(content_of(events(streamed.body)) == reply_text(reply));
  }
}

TEST_CASE("structured output: each of several answers follows the grammar by itself") {
  FlatServer server;
  const Json reply = server.chat(seeded(with_schema + R"(,"max_tokens":300,"n":4)", 3));
  REQUIRE(reply["choices"].size() == 4);
  for (const auto& choice : reply["choices"]) CHECK(is_person(choice["message"]["content"]));
}

TEST_CASE("structured output: many clients with and without, side by side") {
  FlatServer server;
  std::vector<std::thread> clients;
  std::atomic<int> valid{0};
  for (int i = 0; i < 16; ++i)
    clients.emplace_back([&, i] {
      const Json reply =
          server.chat(seeded((i % 2 ? with_schema : R"("guided_regex":"[ab]{3}x\\d")") + R"(,"max_tokens":300)", i));
      const std::string text = reply_text(reply);
      valid += i % 2 ? is_person(text) : text.size() == 5 && text[3] == 'x';
    });
  for (auto& client : clients) client.join();
  CHECK(valid == 16);
}

TEST_CASE("structured output: every spelling of a constraint has its effect") {
  FlatServer server;
  const auto says = [&](const std::string& fields) {
    return reply_text(server.chat(seeded(fields + R"(,"max_tokens":200)", 1)));
  };
  for (const char* fields :
       {R"("guided_choice":["red","gr\u00fcn"])", R"("structured_outputs":{"choice":["red","gr\u00fcn"]})"}) {
    const std::string text = says(fields);
    CHECK((text == "red" || text == "gr\u00fcn"));
  }
  for (const char* fields :
       {R"("guided_regex":"a{4}")", R"("structured_outputs":{"regex":"a{4}"})",
        R"("guided_grammar":"root ::= \"a\" \"aaa\"")", R"("structured_outputs":{"grammar":"root ::= \"aaaa\""})"})
    CHECK(says(fields) == "aaaa");
  for (const char* fields : {R"("guided_json":{"const":1})", R"("guided_json":"{\"const\":1}")",
                             R"("structured_outputs":{"json":{"const":1}})"})
    CHECK(says(fields) == "1");
  CHECK(
      says(
          R"("structured_outputs":{"json":{"properties":{"a":{"const":[1]}},"required":["a"]},"disable_any_whitespace":true})") ==
      R"({"a": [1]})");
  CHECK(
      says(R"("structured_outputs":{"json":{"properties":{"a":{"const":1}},"required":["a"]},"whitespace_pattern":""})")
          .find("\"a\"") != std::string::npos);
  for (const char* fields :
       {R"("structural_tag":"{\"format\":{\"type\":\"const_string\",\"value\":\"x\"}}")",
        R"("response_format":{"type":"structural_tag","format":{"type":"const_string","value":"x"}})"})
    CHECK(says(fields) == "x");
}

TEST_CASE("structured output: json_object") {
  RunningServer server;
  server.script.say(server.files(), R"({"answer": [42, null]} and more)");
  for (const char* fields :
       {R"("response_format":{"type":"json_object"})", R"("structured_outputs":{"json_object":true})"})
    CHECK(reply_text(server.chat(with(std::string(fields) + R"(,"temperature":0)"))) == R"({"answer": [42, null]})");
  CHECK(reply_text(server.chat(with(R"("response_format":{"type":"text"})"))) == R"({"answer": [42, null]} and more)");
}

TEST_CASE("structured output: what cannot be followed is refused with 400, its field and its place") {
  RunningServer server;
  struct Case {
    std::string fields, param, message;
  };
  const std::vector<Case> table = {
      {R"("response_format":{"type":"json_schema"})", "response_format.json_schema",
       "the 'json_schema' field must be provided"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"x"}})", "response_format.json_schema.schema",
       "missing"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"properties":{"a":{"not":{}}}}}})",
       "response_format.json_schema.schema", "response_format.json_schema.schema.properties.a.not: this keyword"},
      {R"("structured_outputs":{"json":{"type":"strin"}})", "structured_outputs.json", "structured_outputs.json.type"},
      {R"("structured_outputs":{"json":"{"})", "structured_outputs.json", "not valid JSON"},
      {R"x("structured_outputs":{"regex":"(?=a)"})x", "structured_outputs.regex",
       "structured_outputs.regex: regex: at byte 2"},
      {R"("structured_outputs":{"regex":7})", "structured_outputs.regex", "is 7, wanted"},
      {R"("structured_outputs":{"choice":[]})", "structured_outputs.choice", "not empty"},
      {R"("structured_outputs":{"choice":["a",1]})", "structured_outputs.choice.1", "a string"},
      {R"("structured_outputs":{"grammar":"root = a"})", "structured_outputs.grammar", "wanted ::="},
      {R"("structured_outputs":{})", "structured_outputs", "none are specified"},
      {R"("structured_outputs":{"regex":"a","choice":["b"]})", "structured_outputs.choice",
       "only use one kind of constraints"},
      {R"("guided_json":{},"guided_regex":"a")", "guided_regex", "only use one kind of constraints"},
      {R"("response_format":{"type":"json_object"},"guided_regex":"a")", "guided_regex", "only use one kind"},
      {R"("guided_json":{"allOf":[{"required":"a"},{"required":["b"]}]})", "guided_json", "guided_json"},
      {R"("structural_tag":"{}")", "structural_tag", "neither format nor structures"},
      {R"("guided_regex":")" + std::string(70000, 'a') + "\"", "guided_regex", "wanted at most 65536"}};
  for (const auto& c : table) {
    CAPTURE(c.fields.substr(0, 200));
    const auto reply = server.ask(with(c.fields));
    REQUIRE(reply.status == 400);
    const Json error = Json::parse(reply.body)["error"];
    CHECK(error["type"] == "BadRequestError");
    CHECK(error["param"] == c.param);
    CAPTURE(error["message"]);
    CHECK(std::string(error["message"]).find(c.message) != std::string::npos);
  }
  CHECK(server.script.prefills == 0);
}

TEST_CASE("structured output: an answer that no token can go on ends alone, with the reason") {
  FlatServer server;
  const auto reply = server.ask(with(R"("guided_regex":"\\d","allowed_token_ids":[5])"));
  CHECK(reply.status == 500);
  CHECK(reply.body.find("every token is excluded") != std::string::npos);
  CHECK(reply_text(server.chat(with(R"("guided_regex":"a{4}")"))) == "aaaa");
}

TEST_CASE("structured output: min_tokens and ignore_eos do not break an answer that is complete") {
  FlatServer server;
  CHECK(reply_text(server.chat(with(R"("guided_regex":"a{4}","min_tokens":20,"max_tokens":40)"))) == "aaaa");
  CHECK(reply_text(server.chat(with(R"("guided_regex":"a{4}","ignore_eos":true,"max_tokens":40)"))) == "aaaa");
}
