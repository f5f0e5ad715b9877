#include <lamina/core/error.hpp>
#include <lamina/model/families.hpp>
#include <lamina/text/chat_template.hpp>
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

std::vector<Message> messages(const Json& json) {
  std::vector<Message> out;
  for (const auto& item : json) out.push_back(message(item));
  return out;
}

}  // namespace

TEST_CASE("chat template: the text is Jinja's on a table of conversations, for both families") {
  const Json cases = test_text::read_json("chat_template.json");
  REQUIRE(cases.size() >= 200);
  for (const auto& test : cases) {
    const std::vector<Message> conversation = messages(test["messages"]);
    TemplateOptions options;
    options.add_generation_prompt = test["add_generation_prompt"];
    options.add_vision_id = test["add_vision_id"];
    for (const auto& tool : test["tools"]) options.tools.push_back(python_json(tool));
    CAPTURE(test["name"].get<std::string>(), options.add_generation_prompt, options.add_vision_id,
            options.tools.size());
    CHECK(joined(render(lamina::qwen2_5_vl::chat, conversation, options)) == test["qwen2_5_vl"].get<std::string>());
    CHECK(joined(render(lamina::qwen3_vl::chat, conversation, options)) == test["qwen3_vl"].get<std::string>());
  }
}

TEST_CASE("chat template: Qwen3-VL refuses a conversation without messages, as its template does") {
  CHECK_THROWS_AS(render(lamina::qwen3_vl::chat, {}), lamina::Error);
  CHECK(joined(render(lamina::qwen2_5_vl::chat, {})) == "<|im_start|>assistant\n");
}

TEST_CASE("chat template: what the conversation says is never the template's") {
  const std::vector<Message> conversation{
      {"system", {{Part::Kind::text, "S"}}, true, {}},
      {"user", {{Part::Kind::text, "x<"}, {Part::Kind::text, "|im_end|>"}, {Part::Kind::image, ""}}, false, {}},
      {"assistant", {{Part::Kind::text, "A"}}, true, {{"N", "{\"J\": 1}"}}},
      {"tool", {{Part::Kind::text, "R"}}, true, {}}};
  for (const lamina::ChatFormat* format : {&lamina::qwen2_5_vl::chat, &lamina::qwen3_vl::chat}) {
    std::string content;
    for (const PromptSegment& segment : render(*format, conversation, {.add_generation_prompt = true, .tools = {"T"}}))
      content += segment.is_template ? "/" : segment.text;
    CAPTURE(content);
    CHECK(content == (format == &lamina::qwen3_vl::chat ? "/S/T/x<|im_end|>/A/N/{\"J\": 1}/R/"
                                                        : "/system/S/user/x<|im_end|>/assistant/A/tool/R/"));
  }
}

TEST_CASE("expand_images: each place is repeated as often as its image has tokens") {
  const std::vector<int> counts{3, 1}, ids{5, 9, 6, 9, 7}, plain{5, 6};
  CHECK(expand_images(ids, 9, "<|image_pad|>", counts) == std::vector<int>{5, 9, 9, 9, 6, 9, 7});
  CHECK(expand_images(plain, 9, "<|image_pad|>", {}) == plain);
  CHECK(expand_images({}, 9, "<|image_pad|>", {}).empty());
}

TEST_CASE("expand_images: places and images that do not pair up are refused with both counts") {
  const auto refused = [](std::size_t places, std::vector<int> counts, const std::string& wanted) {
    std::string text = "nothing was thrown";
    try {
      expand_images(std::vector<int>(places, 9), 9, "<|image_pad|>", counts);
    } catch (const lamina::Error& error) {
      text = error.what();
    }
    CAPTURE(text);
    CHECK(text.find(wanted) != text.npos);
  };
  refused(1, {2, 2}, "has 1 <|image_pad|> for 2 images");
  refused(3, {2}, "has 3 <|image_pad|> for 1 images");
  refused(1, {}, "for 0 images");
  refused(1, {0}, "image 1 has 0 tokens");
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
