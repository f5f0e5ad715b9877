#include <lamina/core/error.hpp>
#include <lamina/model/families.hpp>
#include <lamina/text/media_places.hpp>
#include <lamina/text/prompt_template.hpp>
#include <lamina/text/python_json.hpp>
#include "support.hpp"

#include <vector>

using namespace lamina::text;
using Json = nlohmann::ordered_json;

namespace {

Part part(const Json& item) {
  const std::string type = item.value("type", "");
  if (type == "image" || item.contains("image") || item.contains("image_url")) return {Part::Kind::image, ""};
  if (type == "video" || item.contains("video")) return {Part::Kind::video, ""};
  return {Part::Kind::text, item["text"]};
}

Message message(const Json& json) {
  Message out;
  out.role = json["role"];
  out.plain = json["content"].is_string();
  if (out.plain) {
    out.parts.push_back({Part::Kind::text, json["content"]});
  } else {
    for (const auto& item : json["content"]) out.parts.push_back(part(item));
  }
  for (const auto& call : json.value("tool_calls", Json::array())) {
    const Json& inner = call.contains("function") ? call["function"] : call;
    const Json& arguments = inner["arguments"];
    out.tool_calls.push_back(
        {inner["name"], arguments.is_string() ? arguments.get<std::string>() : python_json(arguments)});
  }
  return out;
}

bool arguments_are_text(const Json& json) {
  for (const auto& item : json)
    for (const auto& call : item.value("tool_calls", Json::array()))
      if ((call.contains("function") ? call["function"] : call)["arguments"].is_string()) return true;
  return false;
}

std::vector<Message> messages(const Json& json) {
  std::vector<Message> out;
  for (const auto& item : json) out.push_back(message(item));
  return out;
}

}  // namespace

TEST_CASE("prompt template: turns, parts and calls give what transformers writes, for both families") {
  const Json cases = test_text::read_json("chat_template.json");
  REQUIRE(cases.size() >= 200);
  const auto qwen2_5 = PromptTemplate::released(lamina::qwen2_5_vl::chat);
  const auto qwen3 = PromptTemplate::released(lamina::qwen3_vl::chat);
  for (const auto& test : cases) {
    const std::vector<Message> conversation = messages(test["messages"]);
    TemplateOptions options;
    options.add_generation_prompt = test["add_generation_prompt"];
    options.variables["add_vision_id"] = test["add_vision_id"];
    options.tools.assign(test["tools"].begin(), test["tools"].end());
    CAPTURE(test["name"].get<std::string>(), options.add_generation_prompt, options.variables.dump(),
            options.tools.size());
    CHECK(joined(qwen2_5.render(conversation, options)) == test["qwen2_5_vl"].get<std::string>());
    if (!arguments_are_text(test["messages"]))  // which serving reads, so that templates see objects
      CHECK(joined(qwen3.render(conversation, options)) == test["qwen3_vl"].get<std::string>());
  }
}

TEST_CASE("prompt template: Qwen3-VL refuses a conversation without messages, as its template does") {
  CHECK_THROWS_AS(PromptTemplate::released(lamina::qwen3_vl::chat).render({}), lamina::Error);
  CHECK(joined(PromptTemplate::released(lamina::qwen2_5_vl::chat).render({})) == "<|im_start|>assistant\n");
}

TEST_CASE("prompt template: what the conversation says is never the template's") {
  const std::vector<Message> conversation{
      {"system", {{Part::Kind::text, "S"}}, true, {}},
      {"user", {{Part::Kind::text, "x<"}, {Part::Kind::text, "|im_end|>"}, {Part::Kind::image, ""}}, false, {}},
      {"assistant", {{Part::Kind::text, "A"}}, true, {{"N", "{\"J\": 1}"}}},
      {"tool", {{Part::Kind::text, "R"}}, true, {}}};
  for (const lamina::ChatFormat* format : {&lamina::qwen2_5_vl::chat, &lamina::qwen3_vl::chat}) {
    std::string content;
    const TemplateOptions options{.tools = {Json("T")}};
    for (const PromptSegment& segment : PromptTemplate::released(*format).render(conversation, options))
      content += segment.is_template ? "/" : segment.text;
    CAPTURE(content);
    CHECK(content == (format == &lamina::qwen3_vl::chat ? "/S/\"T\"/user/x<|im_end|>/assistant/A/N/{\"J\": 1}/R/"
                                                        : "/system/S/user/x<|im_end|>/assistant/A/tool/R/"));
  }
}

TEST_CASE("expand_media: each place is repeated as often as its image has tokens") {
  const std::vector<int> counts{3, 1}, ids{5, 9, 6, 9, 7}, plain{5, 6};
  CHECK(expand_media(ids, 9, counts) == std::vector<int>{5, 9, 9, 9, 6, 9, 7});
  CHECK(expand_media(plain, 9, {}) == plain);
  CHECK(expand_media({}, 9, {}).empty());
}

TEST_CASE("expand_media: a video has as many places as runs of tokens, between images") {
  const std::vector<int> ids{9, 5, 8, 6, 8, 9}, images{2, 1}, runs{3, 1};
  CHECK(expand_media(ids, {9, 8}, images, runs) == std::vector<int>{9, 9, 5, 8, 8, 8, 6, 8, 9});
  CHECK_THROWS_AS(expand_media(ids, {9, 8}, images, images.empty() ? runs : std::vector<int>{3}), lamina::Error);
}

TEST_CASE("with_video_times: the times of a video's groups stand before marks of their own, in the template's text") {
  const auto& format = lamina::qwen3_vl::chat;
  const std::string marks = "<|vision_start|><|video_pad|><|vision_end|>";
  const std::vector<double> seconds{0.25, 1.5, 2.75};
  const auto times = time_texts(seconds, format);
  CHECK(times == std::vector<std::string>{"<0.2 seconds>", "<1.5 seconds>", "<2.8 seconds>"});  // half to even
  const std::vector<PromptSegment> prompt{{"a", true}, {marks, false}, {"b" + marks + "<|video_pad|>c", true}};
  const auto out = with_video_times(prompt, std::vector{times, {times[0]}}, format);
  CHECK(joined(out) == "a" + marks + "b<0.2 seconds>" + marks + "<1.5 seconds>" + marks + "<2.8 seconds>" + marks +
                           "<0.2 seconds>" + marks + "c");
  CHECK_THROWS_AS(with_video_times(prompt, std::vector<std::vector<std::string>>{times}, format), lamina::Error);
  CHECK(time_texts(seconds, lamina::qwen2_5_vl::chat).empty());
}

TEST_CASE("expand_media: places and images that do not pair up are refused with both counts") {
  const auto refused = [](std::size_t places, std::vector<int> counts, const std::string& wanted) {
    std::string text = "nothing was thrown";
    try {
      expand_media(std::vector<int>(places, 9), 9, counts);
    } catch (const lamina::Error& error) {
      text = error.what();
    }
    CAPTURE(text);
    CHECK(text.find(wanted) != text.npos);
  };
  refused(1, {2, 2}, "has 1 places for 2 images");
  refused(3, {2}, "has 3 places for 1 images");
  refused(1, {}, "for 0 images");
  refused(1, {0}, "an image or a video has 0 tokens");
}

TEST_CASE("python_json: writes what Python's json.dumps writes") {
  for (const auto& test : test_text::read_json("python_json.json")) {
    CHECK(python_json(Json::parse(test["json"].get<std::string>())) == test["text"].get<std::string>());
  }
}

TEST_CASE("python_json: refuses nesting that would exhaust the stack and repairs ill-formed strings") {
  CHECK_THROWS_AS(python_json(Json::parse(std::string(5000, '[') + std::string(5000, ']'))), lamina::Error);
  CHECK(python_json(Json("a\xff")) == "\"a\ufffd\"");
}

namespace {

std::string written(const std::string& source, const std::vector<Message>& conversation,
                    const TemplateOptions& options = {}) {
  try {
    return joined(PromptTemplate("t.jinja", source, lamina::qwen3_vl::chat).render(conversation, options));
  } catch (const lamina::Error& e) {
    return std::string("! ") + e.what();
  }
}
const Message asks{"user", {{Part::Kind::image, ""}, {Part::Kind::text, "a"}, {Part::Kind::text, "b"}}, false};

}  // namespace

TEST_CASE("prompt template: one that reads no lists of parts is given strings, images first") {
  const std::string image = "<|vision_start|><|image_pad|><|vision_end|>";
  CHECK(written("{% for m in messages %}{{ m.content }}{% endfor %}", {asks}) == image + "\na\nb");
  CHECK(written("{% for m in messages %}{% for p in m.content %}{{ p.type }} {% endfor %}{% endfor %}", {asks}) ==
        "image text text ");
  CHECK(written("{% set c = messages[0]['content'] or [] %}{% for p in c[1:] %}{{ p.text }}{% endfor %}", {asks}) ==
        "ab");
  const auto prompt =
      PromptTemplate("t", "{{ messages[0].content }}", lamina::qwen3_vl::chat).render(std::vector<Message>{asks});
  REQUIRE(prompt.size() == 4);
  CHECK(prompt[0].is_template);
  CHECK((prompt[1].text == "a" && prompt[3].text == "b" &&
         !prompt[3].is_template));  // the content's, so that it spells no control tokens
}

TEST_CASE("prompt template: the final message is continued behind its content") {
  const TemplateOptions options{.add_generation_prompt = false, .continue_final_message = true};
  const std::vector<Message> conversation{{"user", {{Part::Kind::text, "Q"}}},
                                          {"assistant", {{Part::Kind::text, "The answer "}}}};
  const std::string own(lamina::qwen3_vl::chat.released_template);
  CHECK(written(own, conversation, options) == "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nThe answer ");
  CHECK(written("{% for m in messages %}[{{ m.content | trim }}]{% endfor %}", conversation, options) ==
        "[Q][The answer");
  CHECK(written("x", conversation, options).find("does not write the last message") != std::string::npos);
  CHECK(written(own, {{"user", {}}}, options).find("has no text") != std::string::npos);
}

TEST_CASE("prompt template: messages have what a template may look for, and its folder's tokens are control tokens") {
  Message tool{"tool", {{Part::Kind::text, "R"}}};
  tool.name = "f", tool.tool_call_id = "7";
  Message answer{"assistant", {}};
  answer.reasoning = "why";
  answer.tool_calls = {{"f", "{\"x\": 1}", "7"}};
  CHECK(written("{% for m in messages %}{{ m }}{% endfor %}", {answer, tool}) ==
        "{'role': 'assistant', 'content': '', 'tool_calls': [{'id': '7', 'type': 'function', 'function': {'name': 'f', "
        "'arguments': {'x': 1}}}], 'reasoning_content': 'why', 'reasoning': 'why', 'thinking': 'why'}"
        "{'role': 'tool', 'content': 'R', 'name': 'f', 'tool_call_id': '7'}");
  CHECK(written("{{ documents[0].title }}{{ x }}{{ tools is none }}", {},
                {.documents = {Json{{"title", "T"}}}, .variables = {{"x", 1}}}) == "T1True");
  const PromptTemplate own("t", "{{ eos_token }}", lamina::qwen3_vl::chat, {{"eos_token", "<|im_end|>"}});
  CHECK(own.render({})[0].is_template);
}

TEST_CASE("prompt template: errors name the file and the line, and what a template raises is its own text") {
  CHECK(lamina::cat(written("\n{% include 'x' %}", {})).starts_with("! t.jinja: chat template line 2: {% include %}"));
  CHECK(written("{{ raise_exception('Conversation roles must alternate') }}", {}) ==
        "! Conversation roles must alternate");
}
