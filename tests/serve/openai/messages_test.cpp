#include <lamina/model/families.hpp>
#include <lamina/serve/openai/request/chat/chat_messages.hpp>

#include <fstream>
#include <string>

#include "serve/message_of.hpp"
#include "support/catch.hpp"

using namespace lamina;
using serve::Json;

TEST_CASE("messages: the OpenAI layout gives the text of the model's own template, for both families") {
  std::ifstream in(LAMINA_GOLDEN_DIR "/serve/openai_messages.json");
  const Json cases = Json::parse(in);
  REQUIRE(cases.size() >= 35);
  for (const auto& test : cases) {
    CAPTURE(test["name"].get<std::string>());
    for (const auto& [family, name] :
         {std::pair{&qwen2_5_vl::chat, "qwen2_5_vl"}, std::pair{&qwen3_vl::chat, "qwen3_vl"}}) {
      const auto chat = serve::read_messages(test["messages"], {99});
      const auto own = text::PromptTemplate::released(*family);
      CHECK(text::joined(own.render(chat.messages)) == test[name].get<std::string>());
    }
  }
}

TEST_CASE("messages: a part that is wrong is refused by its path, with what was found and wanted") {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"7", "messages.0.content: is 7, wanted a string or a list of parts"},
      {"[7]", "messages.0.content.0: is 7, wanted a string or an object"},
      {R"([{"text":"a"}])", "messages.0.content.0.type: is missing, wanted text, image_url or video_url"},
      {R"([{"type":"input_audio"}])",
       "messages.0.content.0.type: is \"input_audio\", wanted text, image_url or video_url"},
      {R"([{"type":"text","text":5}])", "messages.0.content.0.text: is 5, wanted a string"},
      {R"([{"type":"image_url"}])", "messages.0.content.0.image_url: is missing, wanted an object"},
      {R"([{"type":"image_url","image_url":"data:"}])",
       "messages.0.content.0.image_url: is \"data:\", wanted an object"},
      {R"([{"type":"image_url","image_url":{}}])", "messages.0.content.0.image_url.url: is missing, wanted"},
      {R"([{"type":"image_url","image_url":{"url":5}}])", "messages.0.content.0.image_url.url: is 5, wanted a string"},
      {R"([{"type":"image_url","image_url":null,"uuid":""}])",
       "messages.0.content.0.uuid: is \"\", wanted a string of"},
      {R"([{"type":"image_url","image_url":{"url":null},"uuid":5}])",
       "messages.0.content.0.uuid: is 5, wanted a string"},
      {R"(["a",{"video_url":5}])", "messages.0.content.1.video_url: is 5, wanted an object"},
      {R"([{"type":"video_url","video_url":{"url":"data:video/jpeg;base64,AA,BB"}}])", "frames in data:video/jpeg are"},
  };
  for (const auto& entry : table) {
    const Json list = Json::parse(R"([{"role":"user","content":)" + entry.first + "}]");
    const auto message = test::message_of([&] { serve::read_messages(list, {9}); });
    CAPTURE(entry.first, message);
    CHECK(message.find(entry.second) != std::string::npos);
  }
}

TEST_CASE("messages: arguments that are no object are refused, and calls that are no functions") {
  const auto refusal = [](const std::string& call) {
    const Json list = Json::parse(R"([{"role":"assistant","tool_calls":[)" + call + "]}]");
    return test::message_of([&] { serve::read_messages(list, {9}); });
  };
  for (const char* arguments : {"7", "[]", R"("{")", R"("[1]")", R"("x")"})
    CHECK(refusal(cat(R"({"function":{"name":"f","arguments":)", arguments, "}}"))
              .starts_with("messages.0.tool_calls.0.function.arguments: "));
  CHECK(refusal(R"({"type":"custom","custom":{"name":"f"}})") ==
        "messages.0.tool_calls.0.type: is \"custom\", wanted function");
  CHECK(refusal(R"({"function":{}})") == "messages.0.tool_calls.0.function.name: is missing, wanted a string");
}
