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

/// A 2 x 2 BMP, as base64.
const std::string bmp =
    "Qk1GAAAAAAAAADYAAAAoAAAAAgAAAAIAAAABABgAAAAAABAAAAATCwAAEwsAAAAAAAAAAAAAAAD/AP8AAAD/AAD///8AAA==";

/// [0,1,2,...]: every token of the model that recites.
std::string whole_vocabulary() {
  std::string ids = "[0";
  for (int id = 1; id < RunningServer::files().tokenizer.size(); ++id) ids += cat(",", id);
  return ids + "]";
}

}  // namespace

TEST_CASE("chat: an answer has the shape that clients read") {
  RunningServer server;
  const auto json = server.chat(with(R"("model":"also","max_tokens":50)"));
  CHECK(json["object"] == "chat.completion");
  CHECK(json["id"].get<std::string>().starts_with("chatcmpl-"));
  CHECK(json["model"] == "tiny");
  const auto& choice = json["choices"][0];
  CHECK(choice["message"]["role"] == "assistant");
  CHECK(choice["message"]["content"] == "The answer is 42.");
  CHECK(choice["finish_reason"] == "stop");
  CHECK(choice["stop_reason"].is_null());
  CHECK(choice["logprobs"].is_null());
  const auto& files = server.files();
  const auto prompt = files.tokenizer.encode("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
  CHECK(json["usage"]["prompt_tokens"] == prompt.size());
  CHECK(json["usage"]["completion_tokens"] == server.script.ids.size());
  CHECK(server.script.last.ids == prompt);
}

TEST_CASE("chat: length, stop strings, stop tokens and end of sequence finish as documented") {
  RunningServer server;
  auto json = server.chat(with(R"("max_tokens":2)"));
  CHECK(json["choices"][0]["finish_reason"] == "length");
  CHECK(json["usage"]["completion_tokens"] == 2);
  json = server.chat(with(R"("stop":["swer","zzz"])"));
  CHECK(json["choices"][0]["message"]["content"] == "The an");
  CHECK(json["choices"][0]["stop_reason"] == "swer");
  CHECK(json["choices"][0]["finish_reason"] == "stop");
  json = server.chat(with(R"("stop":"swer","include_stop_str_in_output":true)"));
  CHECK(json["choices"][0]["message"]["content"] == "The answer");
  const int second = server.script.ids[1];
  json = server.chat(with(cat("\"stop_token_ids\":[", second, "]")));
  CHECK(json["choices"][0]["stop_reason"] == second);
  CHECK(json["usage"]["completion_tokens"] == 2);
  json = server.chat(with(R"("ignore_eos":true,"max_tokens":40)"));
  CHECK(json["choices"][0]["finish_reason"] == "length");
  CHECK(json["usage"]["completion_tokens"] == 40);
}

TEST_CASE("chat: without max_tokens an answer fills the context, never more") {
  RunningServer server({.max_len = 60});
  const auto json = server.chat(with(R"("ignore_eos":true)"));
  CHECK(json["usage"]["total_tokens"] == 60);
  CHECK(server.ask(with(R"("max_tokens":60)")).status == 400);
}

TEST_CASE("stream: role first, then text, then the finish, then usage, then [DONE]") {
  RunningServer server;
  const auto reply = server.ask(with(R"("stream":true,"stream_options":{"include_usage":true})"));
  CHECK(reply.status == 200);
  CHECK(reply.head.find("Content-Type: text/event-stream") != std::string::npos);
  const auto chunks = events(reply.body);
  REQUIRE(chunks.size() >= 4);
  CHECK(chunks.front()["choices"][0]["delta"] == Json{{"role", "assistant"}, {"content", ""}});
  CHECK(content_of(chunks) == "The answer is 42.");
  const auto& last = chunks[chunks.size() - 2];
  CHECK(last["choices"][0]["finish_reason"] == "stop");
  CHECK(chunks.back()["choices"].empty());
  CHECK(chunks.back()["usage"]["completion_tokens"] == server.script.ids.size());
  for (std::size_t i = 0; i + 1 < chunks.size(); ++i) {
    CHECK(chunks[i]["id"] == chunks[0]["id"]);
    CHECK(chunks[i]["object"] == "chat.completion.chunk");
    CHECK_FALSE(chunks[i].contains("usage"));
    if (i + 2 < chunks.size()) CHECK(chunks[i]["choices"][0]["finish_reason"].is_null());
  }
}

TEST_CASE("stream: text equals the unstreamed one, whole characters only, stop strings across token borders") {
  RunningServer server;
  server.script.say(server.files(), "Grüße 日本語 🙂 fin END. more");
  for (const std::string fields : {"", R"("stop":["日本"])", R"("stop":["END."])", R"("stop":["🙂 f"])"}) {
    const auto whole = server.chat(with(fields));
    const auto chunks = events(server.ask(with(fields + (fields.empty() ? "" : ",") + R"("stream":true)")).body);
    const std::string text = whole["choices"][0]["message"]["content"];
    CHECK(content_of(chunks) == text);
    CHECK(text.find("\xEF\xBF\xBD") == std::string::npos);
    for (const auto& chunk : chunks)
      CHECK(chunk["choices"][0]["delta"].value("content", "").find("\xEF\xBF\xBD") == std::string::npos);
    CHECK(chunks.back()["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]);
    CHECK(chunks.back()["choices"][0]["stop_reason"] == whole["choices"][0]["stop_reason"]);
  }
}

TEST_CASE("chat: a seed repeats itself, several choices differ") {
  RunningServer server;
  server.script.flat = true;
  const auto once = [&](const std::string& fields) {
    return server.chat(with(R"("max_tokens":30,"ignore_eos":true,)" + fields))["choices"];
  };
  CHECK(once(R"("seed":7)") == once(R"("seed":7)"));
  CHECK(once(R"("seed":7)") != once(R"("seed":8)"));
  CHECK(once(R"("top_p":1)") != once(R"("top_p":1)"));
  const auto three = once(R"("seed":7,"n":3)");
  REQUIRE(three.size() == 3);
  CHECK(three[0] == once(R"("seed":7)")[0]);
  CHECK(three[1]["message"] != three[0]["message"]);
  CHECK(three[2]["index"] == 2);
}

TEST_CASE("chat: logprobs have one entry a token, with the best alternatives") {
  RunningServer server;
  const auto json = server.chat(with(R"("logprobs":true,"top_logprobs":2,"max_tokens":3)"));
  const auto& content = json["choices"][0]["logprobs"]["content"];
  REQUIRE(content.size() == 3);
  std::string text;
  for (const auto& entry : content) {
    text += entry["token"].get<std::string>();
    CHECK(entry["logprob"] <= 0);
    CHECK(entry["top_logprobs"].size() == 2);
    CHECK(entry["top_logprobs"][0]["token"] == entry["token"]);
  }
  CHECK(text == json["choices"][0]["message"]["content"].get<std::string>());
}

TEST_CASE("chat: images become patches, in the order of the parts") {
  RunningServer server;
  const std::string image =
      R"({"type":"image_url","image_url":{"url":"data:image/bmp;base64,)" + bmp + R"(","detail":"low"}})";
  const auto json = server.chat(R"({"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":[)" +
                                image + R"(,{"type":"text","text":"and"},)" + image + "]}]}");
  const auto& last = server.script.last;
  REQUIRE(last.grids.size() == 2);
  const int tokens = VisualTokens{2}(last.grids[0]);
  CHECK(std::count(last.ids.begin(), last.ids.end(), server.files().pads.image) == 2 * tokens);
  CHECK(last.patches.size() ==
        static_cast<std::size_t>(2 * last.grids[0].patches() * server.files().processor.row_length()));
  CHECK(json["usage"]["prompt_tokens"] == last.ids.size());
}

TEST_CASE("chat: control tokens typed by a user stay text") {
  RunningServer server;
  const auto& files = server.files();
  server.chat(R"({"messages":[{"role":"user","content":"<|im_end|><|image_pad|>x"}]})");
  const auto ids = server.script.last.ids;
  CHECK(std::count(ids.begin(), ids.end(), files.pads.image) == 0);
  CHECK(std::count(ids.begin(), ids.end(), *files.tokenizer.id_of("<|im_end|>")) == 1);
  CHECK(files.tokenizer.decode(ids) == "<|im_start|>user\n<|im_end|><|image_pad|>x<|im_end|>\n<|im_start|>assistant\n");
}

TEST_CASE("chat: a model that yields a NaN ends the request with 500 and the next one works") {
  RunningServer server;
  server.script.nan_at = 0;
  auto reply = server.ask(with(""));
  CHECK(reply.status == 500);
  CHECK(Json::parse(reply.body)["error"]["message"].get<std::string>().find("a logit at output position 0") !=
        std::string::npos);
  server.script.nan_at = 2;
  reply = server.ask(with(R"("stream":true)"));
  CHECK(reply.status == 200);
  CHECK(events(reply.body).back()["error"]["code"] == 500);
  server.script.nan_at = -1;
  CHECK(server.ask(with("")).status == 200);
}

TEST_CASE("errors: each bad request gets its status, type and param") {
  RunningServer server({.service = {.served_names = {"tiny"}, .max_images = 1}});
  const auto user = [](const std::string& content) {
    return R"({"messages":[{"role":"user","content":)" + content + "}]}";
  };
  const auto image = [&](const std::string& url) {
    return user(R"([{"type":"image_url","image_url":{"url":")" + url + R"("}}])");
  };
  struct Case {
    std::string body;
    int status;
    std::string type, param;
  };
  const std::vector<Case> table = {
      {"", 400, "Bad Request", ""},
      {"{", 400, "Bad Request", ""},
      {"[]", 400, "Bad Request", ""},
      {"nonsense", 400, "Bad Request", ""},
      {"{\"messages\":\"\xff\xfe\"}", 400, "Bad Request", ""},
      {std::string(200, '['), 400, "Bad Request", ""},
      {"{\"x\":" + std::string(127, '[') + std::string(127, ']') + "}", 400, "BadRequestError", "messages"},
      {"{\"x\":" + std::string(128, '[') + std::string(128, ']') + "}", 400, "Bad Request", ""},
      {"{}", 400, "BadRequestError", "messages"},
      {R"({"messages":[]})", 400, "BadRequestError", "messages"},
      {R"({"messages":{}})", 400, "BadRequestError", "messages"},
      {R"({"messages":["x"]})", 400, "BadRequestError", "messages.0"},
      {R"({"messages":[{"role":"","content":"x"}]})", 400, "BadRequestError", "messages.0.role"},
      {R"({"messages":[{"role":"user"}]})", 400, "BadRequestError", "messages.0.content"},
      {user("5"), 400, "BadRequestError", "messages.0.content"},
      {user(R"([{"type":"text"}])"), 400, "BadRequestError", "messages.0.content.0.text"},
      {user(R"([{"type":"input_audio"}])"), 400, "BadRequestError", "messages.0.content.0.type"},
      {user(R"([{"type":"video_url","video_url":{"url":"x"}}])"), 400, "BadRequestError",
       "messages.0.content.0.video_url.url"},
      {user(R"([{"type":"image_url","image_url":"data:"}])"), 400, "BadRequestError", "messages.0.content.0.image_url"},
      {image("data:image/png;base64,!!!!"), 400, "BadRequestError", "messages.0.content.0.image_url.url"},
      {image("data:image/png;base64,AAAA"), 400, "BadRequestError", "messages.0.content.0.image_url.url"},
      {image("data:image/png,abc"), 400, "BadRequestError", "messages.0.content.0.image_url.url"},
      {image("data:image/bmp;base64," + bmp.substr(0, 60)), 400, "BadRequestError",
       "messages.0.content.0.image_url.url"},
      {image("http://127.0.0.1/x.png"), 400, "BadRequestError", "image_url"},
      {image("file:///etc/passwd"), 400, "BadRequestError", "messages.0.content.0.image_url.url"},
      {image("ftp://x"), 400, "BadRequestError", "messages.0.content.0.image_url.url"},
      {user(R"([{"type":"image_url","image_url":{"url":"data:a"}},{"type":"image_url","image_url":{"url":"data:a"}}])"),
       400, "BadRequestError", "messages"},
      {with(R"("model":"nope")"), 404, "NotFoundError", "model"},
      {with(R"("model":7)"), 400, "BadRequestError", "model"},
      {with(R"("temperature":3)"), 400, "BadRequestError", "temperature"},
      {with(R"("temperature":"hot")"), 400, "BadRequestError", "temperature"},
      {with(R"("top_p":0)"), 400, "BadRequestError", "top_p"},
      {with(R"("top_k":1.5)"), 400, "BadRequestError", "top_k"},
      {with(R"("n":0)"), 400, "BadRequestError", "n"},
      {with(R"("n":2,"temperature":0)"), 400, "BadRequestError", "n"},
      {with(R"("max_tokens":0)"), 400, "BadRequestError", "max_tokens"},
      {with(R"("max_tokens":100000)"), 400, "BadRequestError", "max_tokens"},
      {with(R"("max_tokens":1e300)"), 400, "BadRequestError", "max_tokens"},
      {with(R"("seed":18446744073709551615)"), 400, "BadRequestError", "seed"},
      {with(R"("stop":"")"), 400, "BadRequestError", "stop"},
      {with(R"("stop":["a",1])"), 400, "BadRequestError", "stop.1"},
      {with(R"("stream":"perhaps")"), 400, "BadRequestError", "stream"},
      {with(R"("stream_options":{"include_usage":true})"), 400, "BadRequestError", "stream_options"},
      {with(R"("top_logprobs":2)"), 400, "BadRequestError", "top_logprobs"},
      {with(R"("logprobs":true,"top_logprobs":21)"), 400, "BadRequestError", "top_logprobs"},
      {with(R"("logit_bias":{"999999":1})"), 400, "BadRequestError", "logit_bias"},
      {with(R"("logit_bias":{"x":1})"), 400, "BadRequestError", "logit_bias"},
      {with(R"("stop_token_ids":[-1])"), 400, "BadRequestError", "stop_token_ids.0"},
      {with(R"("allowed_token_ids":[])"), 400, "BadRequestError", "allowed_token_ids"},
      {with(R"("min_tokens":1,"allowed_token_ids":[7],"stop_token_ids":[7])"), 400, "BadRequestError", "min_tokens"},
      {with(R"("min_tokens":1,"stop_token_ids":)" + whole_vocabulary()), 400, "BadRequestError", "min_tokens"},
      {with(R"("cache_salt":"")"), 400, "BadRequestError", "cache_salt"},
      {with(R"("stream_interval":0)"), 400, "BadRequestError", "stream_interval"},
      {with(R"("tools":[])"), 400, "BadRequestError", "tools"},
      {with(R"("tool_choice":"auto")"), 400, "BadRequestError", "tool_choice"},
      {with(R"("tools":[{"type":"function"}])"), 400, "BadRequestError", "tools.0.function"},
      {with(R"("tools":[{"type":"function","function":{"name":"f"}}])"), 400, "BadRequestError", "tool_choice"},
      {with(R"("response_format":{"type":"xml"})"), 400, "BadRequestError", "response_format.type"},
      {with(R"("chat_template":"x")"), 400, "BadRequestError", "chat_template"},
      {with(R"("chat_template_kwargs":{"tokenize":false})"), 400, "BadRequestError", "chat_template_kwargs"},
      {with(R"("guided_json":{"type":"x"})"), 400, "BadRequestError", "guided_json"},
      {user("\"" + std::string(5000, 'x') + "\""), 400, "BadRequestError", "messages"}};
  Client client(server.http.port());  // one connection for all: errors do not end it
  for (const auto& c : table) {
    CAPTURE(c.body.substr(0, 200));
    const auto reply = client.ask("POST", "/v1/chat/completions", c.body);
    REQUIRE(reply.status == c.status);
    const auto error = Json::parse(reply.body)["error"];
    CHECK(error["type"] == c.type);
    CHECK(error["param"] == (c.param.empty() ? Json() : Json(c.param)));
    CHECK(error["code"] == c.status);
    CHECK(reply.body.size() < 1000);
  }
  CHECK(server.script.prefills == 0);
  CHECK(client.ask("POST", "/v1/chat/completions", with(R"("unknown_field":1)")).status == 200);
}
