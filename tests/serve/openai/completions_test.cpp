#include <set>
#include <string>
#include <vector>

#include "serve/events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

struct CompletionServer : RunningServer {
  using RunningServer::RunningServer;
  Json complete(const std::string& fields) {
    const auto reply = ask("{" + fields + "}", "/v1/completions");
    if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
    return Json::parse(reply.body);
  }
  std::vector<Json> stream(const std::string& fields) {
    return events(ask("{" + fields + R"(,"stream":true})", "/v1/completions").body);
  }
};

std::string text_of(const std::vector<Json>& chunks, int index = 0) {
  std::string text;
  for (const auto& chunk : chunks)
    for (const auto& choice : chunk["choices"])
      if (choice["index"] == index) text += choice["text"];
  return text;
}
std::string joined(const Json& texts) {
  std::string out;
  for (const auto& text : texts) out += text.get<std::string>();
  return out;
}
std::vector<int> ids_of(const std::string& text) { return RunningServer::files().tokenizer.encode(text); }

}  // namespace

TEST_CASE("completions: an answer has the shape that clients read") {
  CompletionServer server;
  const Json json = server.complete(R"("model":"also","prompt":"Say:")");
  CHECK(json["object"] == "text_completion");
  CHECK(json["id"].get<std::string>().starts_with("cmpl-"));
  CHECK(json["model"] == "tiny");
  const Json& choice = json["choices"][0];
  CHECK(choice["text"] == "The answer is 42.");
  CHECK(choice["finish_reason"] == "stop");
  CHECK(choice["logprobs"].is_null());
  CHECK(choice["prompt_logprobs"].is_null());
  CHECK(server.script.last.ids == ids_of("Say:"));  // no chat layout around it
  CHECK(json["usage"]["prompt_tokens"] == ids_of("Say:").size());
  CHECK(json["usage"]["completion_tokens"] == server.script.ids.size());
}

TEST_CASE("completions: without max_tokens an answer has 16 tokens at most") {
  CompletionServer server;
  const Json json = server.complete(R"("prompt":"x","ignore_eos":true)");
  CHECK(json["usage"]["completion_tokens"] == 16);
  CHECK(json["choices"][0]["finish_reason"] == "length");
}

TEST_CASE("completions: texts, ids and lists of both are prompts; choice i of prompt p is choice p * n + i") {
  CompletionServer server;
  const auto ids = ids_of("Hi there");
  const Json list = ids;
  CHECK(server.complete(R"("prompt":)" + list.dump())["usage"]["prompt_tokens"] == ids.size());
  CHECK(server.script.last.ids == ids);
  const Json two = server.complete(R"("prompt":["a","bc"],"n":2,"echo":true,"max_tokens":1)");
  REQUIRE(two["choices"].size() == 4);
  for (int i = 0; i < 4; ++i) {
    CHECK(two["choices"][i]["index"] == i);
    CHECK(two["choices"][i]["text"] == std::string(i < 2 ? "a" : "bc") + "The");
  }
  CHECK(two["usage"]["prompt_tokens"] == ids_of("a").size() + ids_of("bc").size());
  CHECK(two["usage"]["completion_tokens"] == 4);
  const Json lists = server.complete(R"("prompt":[)" + list.dump() + ",[1,2]" + R"(],"echo":true,"max_tokens":1)");
  CHECK(lists["choices"][0]["text"] == "Hi thereThe");
  std::string many = "[\"0\"";
  for (int i = 1; i < 100; ++i) many += ",\"" + std::to_string(i) + "\"";
  const Json hundred = server.complete(R"("prompt":)" + many + R"(],"echo":true,"max_tokens":1)");
  REQUIRE(hundred["choices"].size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(hundred["choices"][i]["text"] == std::to_string(i) + "The");
}

TEST_CASE("completions: logprobs list tokens, their logprobs, their places in the text and the alternatives") {
  CompletionServer server;
  const Json json = server.complete(R"("prompt":"x","logprobs":2,"max_tokens":3)");
  const Json& logprobs = json["choices"][0]["logprobs"];
  REQUIRE(logprobs["tokens"].size() == 3);
  CHECK(joined(logprobs["tokens"]) == json["choices"][0]["text"].get<std::string>());
  CHECK(logprobs["text_offset"] == Json{0, 3, 3 + logprobs["tokens"][1].get<std::string>().size()});
  for (int i = 0; i < 3; ++i) {
    CHECK(logprobs["token_logprobs"][i] <= 0);
    CHECK(logprobs["top_logprobs"][i].size() == 2);
    CHECK(logprobs["top_logprobs"][i].begin().key() == logprobs["tokens"][i].get<std::string>());
  }
  CHECK(server.complete(R"("prompt":"x","logprobs":0,"max_tokens":1)")["choices"][0]["logprobs"]["top_logprobs"][0]
            .size() == 1);
}

TEST_CASE("completions: echo scores a prompt as lm-eval asks for it, with max_tokens 1 and 0, for several prompts") {
  CompletionServer server;
  const std::string long_text = [] {
    std::string text = "one";
    for (int i = 0; i < 90; ++i) text += " two";
    return text;
  }();
  const auto ids = ids_of(long_text);
  REQUIRE(ids.size() > 64);  // more than one step scores
  for (const int max_tokens : {0, 1}) {
    const Json json =
        server.complete(R"("prompt":[)" + Json(ids).dump() + ",[5,6]]" +
                        cat(R"(,"echo":true,"logprobs":1,"temperature":0,"seed":1,"max_tokens":)", max_tokens));
    const Json& choice = json["choices"][0];
    CHECK(choice["text"] == long_text + (max_tokens ? "The" : ""));
    const Json& logprobs = choice["logprobs"];
    REQUIRE(logprobs["tokens"].size() == ids.size() + static_cast<std::size_t>(max_tokens));
    CHECK(joined(logprobs["tokens"]) == choice["text"].get<std::string>());
    CHECK(logprobs["token_logprobs"][0].is_null());
    CHECK(logprobs["top_logprobs"][0].is_null());
    for (std::size_t i = 1; i < ids.size(); ++i) {
      CHECK(logprobs["token_logprobs"][i] < -1);
      CHECK(logprobs["top_logprobs"][i].size() == 1);  // the token itself is the most probable: lm-eval's is_greedy
      CHECK(logprobs["top_logprobs"][i].contains(logprobs["tokens"][i].get<std::string>()));
    }
    CHECK(json["choices"][1]["logprobs"]["tokens"].size() == 2 + static_cast<std::size_t>(max_tokens));
    CHECK(json["usage"]["completion_tokens"] == 2 * max_tokens);
    CHECK(choice["finish_reason"] == "length");
  }
}

TEST_CASE("completions: prompt_logprobs have token, rank and alternatives by id; chats have them too") {
  CompletionServer server;
  const auto ids = ids_of("Hi there");
  const Json scores =
      server.complete(R"("prompt":"Hi there","prompt_logprobs":1,"max_tokens":1)")["choices"][0]["prompt_logprobs"];
  REQUIRE(scores.size() == ids.size());
  CHECK(scores[0].is_null());
  for (std::size_t i = 1; i < ids.size(); ++i) {
    const Json& own = scores[i][std::to_string(ids[i])];
    CHECK(own["rank"] == 1);
    CHECK(own["logprob"] < 0);
    CHECK(own["decoded_token"] == server.files().tokenizer.decode(std::span(&ids[i], 1)));
  }
  const Json chat = server.chat(with(R"("prompt_logprobs":2)"));
  CHECK(chat["prompt_logprobs"].size() == server.script.last.ids.size());
  CHECK(chat["prompt_logprobs"][1].size() == 2);
  CHECK(server.chat(with(""))["prompt_logprobs"].is_null());
}

TEST_CASE("completions: a stream says what the whole answer says, its last chunk the finish") {
  CompletionServer server;
  server.script.say(server.files(), "Grüße 日本語 🙂 fin");
  for (const std::string fields :
       {R"("prompt":"x","max_tokens":40)", R"("prompt":["x","yz"],"n":2,"max_tokens":40)",
        R"("prompt":"x","max_tokens":40,"stop":"本")", R"("prompt":"xy","echo":true,"max_tokens":40,"logprobs":1)",
        R"("prompt":"xy","echo":true,"max_tokens":0,"logprobs":1)"}) {
    CAPTURE(fields);
    const Json whole = server.complete(fields);
    const auto chunks = server.stream(fields + R"(,"stream_options":{"include_usage":true})");
    for (std::size_t i = 0; i < whole["choices"].size(); ++i) {
      CHECK(text_of(chunks, static_cast<int>(i)) == whole["choices"][i]["text"].get<std::string>());
      Json offsets = Json::array(), tokens = Json::array();
      std::vector<Json> finishes;
      for (const auto& chunk : chunks)
        for (const auto& choice : chunk["choices"]) {
          if (choice["index"] != i) continue;
          if (!choice["finish_reason"].is_null()) finishes.push_back(choice["finish_reason"]);
          if (choice["logprobs"].is_null()) continue;
          for (const auto& token : choice["logprobs"]["tokens"]) tokens.push_back(token);
        }
      CHECK(finishes == std::vector<Json>{whole["choices"][i]["finish_reason"]});
      if (!whole["choices"][i]["logprobs"].is_null()) CHECK(tokens == whole["choices"][i]["logprobs"]["tokens"]);
    }
    CHECK(chunks.back()["choices"].empty());
    CHECK(chunks.back()["usage"] == whole["usage"]);
    CHECK(chunks.front()["object"] == "text_completion");
  }
  const auto chunks = server.stream(R"("prompt":"x","max_tokens":3)");
  CHECK_FALSE(chunks.back()["choices"][0]["text"].get<std::string>().empty());  // as vLLM's tests want it
}

TEST_CASE("completions: return_token_ids, truncate_prompt_tokens and bad_words do what they say") {
  CompletionServer server;
  const auto ids = ids_of("one two three four");
  const Json json = server.complete(R"("prompt":"one two three four","return_token_ids":true)");
  CHECK(json["choices"][0]["prompt_token_ids"] == Json(ids));
  CHECK(json["choices"][0]["token_ids"] == Json(server.script.ids));
  server.complete(R"("prompt":"one two three four","truncate_prompt_tokens":2)");
  CHECK(server.script.last.ids == std::vector<int>(ids.end() - 2, ids.end()));
  server.complete(R"("prompt":"one two three four","truncate_prompt_tokens":2,"truncation_side":"right")");
  CHECK(server.script.last.ids == std::vector<int>(ids.begin(), ids.begin() + 2));
  CHECK(server.ask(R"({"prompt":"x","truncate_prompt_tokens":100000})", "/v1/completions").status == 200);
  std::string filler = "word";
  while (ids_of(filler).size() < 450) filler += " word";
  CHECK(server.ask(R"({"prompt":")" + filler + R"("})", "/v1/completions").status == 400);
  CHECK(server.ask(R"({"prompt":")" + filler + R"(","truncate_prompt_tokens":-1})", "/v1/completions").status == 200);
  CHECK(server.script.last.ids.size() == 400 - 16);
  const Json plain = server.chat(with(R"("temperature":0)"));
  const Json without = server.chat(with(R"("temperature":0,"bad_words":["answer"])"));
  CHECK(plain["choices"][0]["message"]["content"].get<std::string>().find("answer") != std::string::npos);
  CHECK(without["choices"][0]["message"]["content"].get<std::string>().find("answer") == std::string::npos);
}

TEST_CASE("completions: each bad request gets its status, type and param") {
  CompletionServer server;
  struct Case {
    std::string body;
    int status;
    std::string type, param;
  };
  const std::string pad = "<|image_pad|>";
  const std::vector<Case> table = {
      {"{}", 400, "BadRequestError", "prompt"},
      {R"({"prompt":null})", 400, "BadRequestError", "prompt"},
      {R"({"prompt":""})", 400, "BadRequestError", "prompt"},
      {R"({"prompt":[]})", 400, "BadRequestError", "prompt"},
      {R"({"prompt":{}})", 400, "BadRequestError", "prompt"},
      {R"({"prompt":["a",""]})", 400, "BadRequestError", "prompt.1"},
      {R"({"prompt":["a",5]})", 400, "BadRequestError", "prompt.1"},
      {R"({"prompt":[1,99999999]})", 400, "BadRequestError", "prompt.1"},
      {R"({"prompt":[1,-1]})", 400, "BadRequestError", "prompt.1"},
      {R"({"prompt":[[1],[2,"x"]]})", 400, "BadRequestError", "prompt.1.1"},
      {R"({"prompt":")" + pad + R"("})", 400, "BadRequestError", "prompt"},
      {R"({"prompt":"x","suffix":"y"})", 400, "NotImplementedError", "suffix"},
      {R"({"prompt":"x","prompt_embeds":"y"})", 400, "NotImplementedError", "prompt_embeds"},
      {R"({"prompt":"x","best_of":2})", 400, "NotImplementedError", "best_of"},
      {R"({"prompt":"x","use_beam_search":true})", 400, "NotImplementedError", "use_beam_search"},
      {R"({"prompt":"x","max_tokens":0})", 400, "BadRequestError", "max_tokens"},
      {R"({"prompt":"x","max_tokens":400})", 400, "BadRequestError", "max_tokens"},
      {R"({"prompt":"x","logprobs":21})", 400, "BadRequestError", "logprobs"},
      {R"({"prompt":"x","logprobs":-1})", 400, "BadRequestError", "logprobs"},
      {R"({"prompt":"x","prompt_logprobs":1,"stream":true})", 400, "BadRequestError", "prompt_logprobs"},
      {R"({"prompt":"x","prompt_logprobs":-2})", 400, "BadRequestError", "prompt_logprobs"},
      {R"({"prompt":"x","truncate_prompt_tokens":0})", 400, "BadRequestError", "truncate_prompt_tokens"},
      {R"({"prompt":"x","truncation_side":"up"})", 400, "BadRequestError", "truncation_side"},
      {R"({"prompt":"x","bad_words":[7]})", 400, "BadRequestError", "bad_words.0"},
      {R"({"prompt":"x","bad_words":[""]})", 400, "BadRequestError", "bad_words.0"},
      {R"({"prompt":"x","model":"nope"})", 404, "NotFoundError", "model"}};
  for (const auto& c : table) {
    CAPTURE(c.body);
    const auto reply = server.ask(c.body, "/v1/completions");
    REQUIRE(reply.status == c.status);
    const Json error = Json::parse(reply.body)["error"];
    CHECK(error["type"] == c.type);
    CHECK(error["param"] == c.param);
  }
  CHECK(server.ask(R"({"prompt":"x","suffix":""})", "/v1/completions").status == 200);
  CHECK(server.becomes_idle());
}
