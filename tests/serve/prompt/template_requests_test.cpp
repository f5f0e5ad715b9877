#include <lamina/serve/openai/request/chat/chat_request.hpp>

#include <string>

#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using serve::Json;
using test::RunningServer;
using test::with;

namespace {

/// A server whose model folder has this template.
serve::ModelFiles files_with_template(const std::string& source) {
  auto files = serve::ModelFiles::load(test::tiny_model(), {}, source);
  files.defaults = {};
  return files;
}

/// The prompt that a request makes, as text; the error's message if it is refused.
std::string templated_prompt(RunningServer& server, const std::string& fields) {
  const auto reply = server.ask(with(fields), "/tokenize");
  const Json json = Json::parse(reply.body);
  if (reply.status != 200) return json["error"]["message"];
  return server.files().tokenizer.decode(json["tokens"].get<std::vector<int>>());
}

constexpr const char* one_pixel_part =
    R"({"type":"image_url","image_url":{"url":"data:image/png;base64,)"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    R"("}})";

}  // namespace

TEST_CASE("chat template: its variables come from chat_template_kwargs, and names that it does not read are refused") {
  RunningServer server;
  CHECK(templated_prompt(server, R"("chat_template_kwargs":{"add_vision_id":true,"enable_thinking":false})")
            .ends_with("<|im_start|>assistant\n"));
  CHECK(templated_prompt(server, R"("chat_template_kwargs":{"nope":1})")
            .find("\"nope\", which the chat template does not read") != std::string::npos);
  for (const char* name : {"tools", "messages", "tokenize", "chat_template", "add_generation_prompt"})
    CHECK(
        templated_prompt(server, cat("\"chat_template_kwargs\":{\"", name, "\":[]}")).find("no variable to set here") !=
        std::string::npos);
  CHECK(templated_prompt(server, R"("documents":[{"title":"a"}])").find("has no place for them") != std::string::npos);
}

TEST_CASE("chat template: a request's own is refused unless the operator trusts requests") {
  const std::string own = R"("chat_template":"<{% for m in messages %}{{ m.content }}{% endfor %}>)";
  RunningServer strict;
  CHECK(templated_prompt(strict, own + "\"")
            .starts_with("chat_template: Chat template is passed with request, but --trust-request-chat"));
  RunningServer trusting({.service = {.served_names = {"tiny"}, .trust_chat_template = true}});
  CHECK(templated_prompt(trusting, own + "\"") == "<Hello>");
  CHECK(templated_prompt(
            trusting, own + R"({{ x }}{{ documents[0].t }}","documents":[{"t":"D"}],"chat_template_kwargs":{"x":7})") ==
        "<Hello>7D");
  CHECK(templated_prompt(trusting, own + "{{ documents[0].t }}\"").find("line 1") != std::string::npos);
  CHECK(templated_prompt(trusting, own + R"({% include 'x' %}")").find("{% include %} is not supported") !=
        std::string::npos);
  CHECK(templated_prompt(trusting, own + R"({{ reasoning_effort }}","reasoning_effort":"low")") == "<Hello>low");
}

TEST_CASE("chat template: what it raises is a 400 with its text, and unknown roles are the template's to take") {
  RunningServer server({.service = {.served_names = {"tiny"}, .trust_chat_template = true}});
  const std::string robot = R"({"messages":[{"role":"robot","content":"x"}],"chat_template":")";
  const auto raised =
      server.ask(robot + R"({% for m in messages %}{{ raise_exception('no role ' ~ m.role) }}{% endfor %}"})");
  CHECK(raised.status == 400);
  const Json error = Json::parse(raised.body)["error"];
  CHECK(error["message"] == "no role robot");
  CHECK(error["param"] == "messages");
  CHECK(server.ask(robot + R"({{ messages[0].role }}"})").status == 200);
  const auto endless =
      server.ask(robot + R"({% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"})");
  CHECK(endless.status == 400);
  CHECK(endless.body.find("steps") != std::string::npos);
}

TEST_CASE("chat template: it must show each image once, and texts never count as images") {
  RunningServer server({.service = {.served_names = {"tiny"}, .trust_chat_template = true}});
  const auto status = [&](const std::string& source) {
    return server
        .ask(cat(R"({"messages":[{"role":"user","content":[)", one_pixel_part,
                 R"(,{"type":"text","text":"<|image_pad|>"}]}],)", R"("chat_template":")", source, "\"}"),
             "/tokenize")
        .status;
  };
  CHECK(status("{% for p in messages[0].content %}{{ p.text or '<|image_pad|>' }}{% endfor %}") == 200);
  CHECK(status("{{ messages[0].content }}") == 200);  // one that reads no parts
  CHECK(status("{% for p in messages[0].content %}{{ p.text }}{% endfor %}") == 400);
  CHECK(status("{% for p in messages[0].content %}<|image_pad|>{% endfor %}") == 400);
}

TEST_CASE("chat template: the last message is continued, and echoed before its continuation") {
  RunningServer server;
  const std::string begun = R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"It is "}])";
  const std::string going_on = begun + R"(,"add_generation_prompt":false,"continue_final_message":true)";
  const auto reply = server.ask(going_on + "}", "/tokenize");
  CHECK(server.files().tokenizer.decode(Json::parse(reply.body)["tokens"].get<std::vector<int>>()) ==
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nIt is ");
  const auto both = server.ask(begun + R"(,"continue_final_message":true})");
  CHECK(both.status == 400);
  CHECK(both.body.find("Cannot set both") != std::string::npos);
  const auto content = [&](const std::string& fields) {
    return server.chat(going_on + fields + "}")["choices"][0]["message"]["content"].get<std::string>();
  };
  CHECK(content("") == "The answer is 42.");
  CHECK(content(R"(,"echo":true)") == "It is The answer is 42.");
  const auto streamed = server.ask(going_on + R"(,"echo":true,"stream":true})");
  CHECK(streamed.body.find(R"("delta":{"content":"It is "})") != std::string::npos);
  CHECK(server.chat(with(R"("echo":true)"))["choices"][0]["message"]["content"] == "The answer is 42.");
}

TEST_CASE("chat template: messages have names, ids and thoughts for a template that reads them") {
  const auto files = files_with_template(
      "{% for m in messages %}{{ m.name }}{{ m.tool_call_id }}{{ m.reasoning_content }}"
      "{{ m.tool_calls[0].id if m.tool_calls }};{% endfor %}");
  const Json list = Json::parse(R"([{"role":"user","name":"Bo","content":"a"},
    {"role":"assistant","reasoning":"why","tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{}"}}]},
    {"role":"tool","tool_call_id":"c1","content":"b"}])");
  const auto chat = serve::read_messages(list, {1});
  CHECK(text::joined(files.chat_template.render(chat.messages)) == "Bo;whyc1;c1;");
}
