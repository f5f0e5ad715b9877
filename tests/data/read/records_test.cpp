#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/read/records.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

DatasetInfo info_of(Formatting formatting) {
  DatasetInfo info;
  info.name = "x", info.file_name = "x.json", info.formatting = formatting;
  info.columns.history = "history", info.columns.system = "system", info.columns.tools = "tools";
  info.columns.images = "images", info.columns.videos = "videos";
  return info;
}
Converted converted(Formatting formatting, const std::string& json) {
  return convert({Json::parse(json), "x.json", 12}, info_of(formatting), &qwen_vl::tools);
}
Conversation kept(Formatting formatting, const std::string& json) {
  return std::get<Conversation>(converted(formatting, json));
}
std::string dropped(Formatting formatting, const std::string& json) {
  const Converted result = converted(formatting, json);
  return std::holds_alternative<Dropped>(result) ? std::get<Dropped>(result).reason : "(kept)";
}
std::string failed(Formatting formatting, const std::string& json) {
  return error_of([&] { converted(formatting, json); });
}
constexpr auto alpaca = Formatting::alpaca, sharegpt = Formatting::sharegpt, openai = Formatting::openai;

}  // namespace

TEST_CASE("Records: alpaca joins instruction and input, puts history in front and keeps the origin") {
  const Conversation c =
      kept(alpaca, R"({"instruction": "a", "input": "b", "output": "c", "system": "s", "images": "p.png",
                                          "history": [["h1", "h2"]]})");
  REQUIRE(c.turns.size() == 4);
  CHECK(c.turns[0].content == "h1");
  CHECK(c.turns[1].role == Role::assistant);
  CHECK(c.turns[2].content == "a\nb");
  CHECK(c.turns[3].content == "c");
  CHECK(c.system == "s");
  CHECK(c.images == std::vector<std::string>{"p.png"});
  CHECK(c.origin == "x.json row 12");
  CHECK(kept(alpaca, R"({"instruction": "", "input": "b", "output": ""})").turns[0].content == "b");
  CHECK(kept(alpaca, R"({"instruction": "a", "output": ""})").turns[0].content == "a");
}

TEST_CASE("Records: an alpaca record without an answer is dropped, one of wrong kinds is an error") {
  CHECK(dropped(alpaca, R"({"instruction": "a"})") == "no text in \"output\"");
  CHECK(dropped(alpaca, R"({"instruction": "a", "output": ["b"]})") == "no text in \"output\"");
  CHECK(failed(alpaca, R"({"instruction": 5, "output": "b"})") ==
        "x.json row 12: \"instruction\" is number, text is wanted");
  CHECK(contains(failed(alpaca, R"({"instruction": "a", "output": "b", "history": [["one"]]})"), "[user, assistant]"));
  CHECK(contains(failed(alpaca, R"({"instruction": "a", "output": "b", "images": [1]})"),
                 "path of an image or a video, or a list"));
  CHECK(contains(failed(alpaca, R"({"instruction": "a", "output": "b", "images": {"file": "p"}})"), "list of paths"));
  CHECK(contains(failed(alpaca, R"({"instruction": "a", "output": "b", "images": "p\u0000q"})"),
                 R"("images" has the path "p\u0000q", and no path holds a NUL byte)"));
}

TEST_CASE("Records: sharegpt takes a first system message before the system column") {
  const Conversation c =
      kept(sharegpt, R"({"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "a"},
      {"from": "function_call", "value": "{}"}, {"from": "observation", "value": "o"}, {"from": "gpt", "value": "b"}],
      "system": "column", "tools": [{"name": "f"}], "videos": ["v.mp4"]})");
  CHECK(c.system == "s");
  REQUIRE(c.turns.size() == 4);
  CHECK(c.turns[1].role == Role::function);
  CHECK(c.turns[2].role == Role::observation);
  CHECK(c.tools == R"([{"name": "f"}])");
  REQUIRE(c.videos.size() == 1);
  CHECK((c.videos[0].file == "v.mp4" && c.videos[0].frames.empty()));
}

TEST_CASE("Records: wrong roles and odd counts drop the record with a reason") {
  const auto talk = [](const std::string& messages) { return R"({"conversations": [)" + messages + "]}"; };
  const std::string user = R"({"from": "human", "value": "a"})", model = R"({"from": "gpt", "value": "b"})";
  CHECK(dropped(sharegpt, talk(user + "," + model)) == "(kept)");
  CHECK(dropped(sharegpt, talk("")) == "no message");
  CHECK(dropped(sharegpt, "{}") == "no message");
  CHECK(dropped(sharegpt, talk(model + "," + user)) == "wrong role order: a user or observation message was expected");
  CHECK(dropped(sharegpt, talk(user + "," + user)) ==
        "wrong role order: an assistant or function_call message was expected");
  CHECK(dropped(sharegpt, talk(user)) == "odd number of messages: the last one is not an answer");
  CHECK(dropped(sharegpt, talk(user + R"(, {"from": "user", "value": "a"})")) == "unknown role \"user\"");
  CHECK(dropped(sharegpt, talk(user + R"(, {"role": "gpt", "value": "a"})")) == "a message without a \"from\"");
  CHECK(dropped(sharegpt, talk(user + R"(, {"from": "gpt", "value": null})")) ==
        "a message whose \"value\" is not text");
  CHECK(contains(failed(sharegpt, R"({"conversations": "hello"})"), "\"conversations\" is string, a list of messages"));
  CHECK(contains(failed(sharegpt, talk("3")), "message 1 is 3, an object is wanted"));
}

namespace {

Converted converted_openai(const std::string& messages) {
  DatasetInfo info = info_of(openai);
  info.columns.messages = "messages";
  info.tags = {.role_tag = "role",
               .content_tag = "content",
               .user_tag = "user",
               .assistant_tag = "assistant",
               .observation_tag = "tool",
               .function_tag = "function",
               .system_tag = "system"};
  return convert({Json::parse(R"({"messages": [)" + messages + "]}"), "x.json", 1}, info, &qwen_vl::tools);
}
Conversation openai_talk(const std::string& messages) { return std::get<Conversation>(converted_openai(messages)); }

}  // namespace

TEST_CASE("Records: openai merges results of tools and writes tool_calls as the model does") {
  const Conversation c = openai_talk(R"({"role": "user", "content": "a"},
      {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
      {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, {"role": "assistant", "content": "b"})");
  REQUIRE(c.turns.size() == 4);
  CHECK(c.system.empty());
  CHECK(c.turns[1].role == Role::assistant);
  CHECK(c.turns[1].content == "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>");
  CHECK(c.turns[2].content == "1\n</tool_response>\n<tool_response>\n2");
}

TEST_CASE("Records: what an openai message holds beside its text is kept or refused, never lost") {
  const std::string user = R"({"role": "user", "content": "a"},)";
  const auto with = [&](const std::string& fields) {
    return user + R"({"role": "assistant", "content": "b", )" + fields + "}";
  };
  CHECK(
      openai_talk(with(R"("tool_calls": [{"function": {"name": "f", "arguments": "{\"x\":1}"}}])")).turns[1].content ==
      "b\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>");
  CHECK(openai_talk(with(R"("tool_calls": [], "reasoning_content": "", "function_call": null)")).turns[1].content ==
        "b");
  const auto error = [&](const std::string& fields) { return error_of([&] { converted_openai(with(fields)); }); };
  CHECK(contains(error(R"("reasoning_content": "t")"), "\"reasoning_content\" besides its content"));
  CHECK(contains(error(R"("function_call": {"name": "f"})"), "\"function_call\" besides its content"));
  CHECK(contains(error(R"("tool_calls": [{"name": "f"}])"), "an object with \"function\" is wanted"));
  CHECK(contains(error(R"("tool_calls": [{"function": {"name": "f", "arguments": "x"}}])"), "\"arguments\""));
  CHECK(contains(failed(sharegpt, R"({"conversations": [{"from": "human", "value": "a"},
                                      {"from": "gpt", "value": "b", "tool_calls": [{}]}]})"),
                 "take \"formatting\": \"openai\""));
}

TEST_CASE("Records: images are paths, or objects of a path without bytes, one or a list of them") {
  const auto images = [](const std::string& json) {
    return kept(alpaca, R"({"instruction": "a", "output": "b", "images": )" + json + "}").images;
  };
  using Paths = std::vector<std::string>;
  CHECK(images("null").empty());
  CHECK(images("[]").empty());
  CHECK(images("\"p\"") == Paths{"p"});
  CHECK(images(R"({"bytes": null, "path": "p"})") == Paths{"p"});
  CHECK(images(R"([{"bytes": null, "path": "p"}, {"path": "q"}, "r"])") == Paths{"p", "q", "r"});
  CHECK(contains(failed(alpaca, R"({"instruction": "a", "output": "b", "images": [{"bytes": "AAAA", "path": "p"}]})"),
                 "holds the bytes of an image or a video: save it as a file"));
  DatasetInfo info = info_of(alpaca);
  const Row row{Json::parse(R"({"instruction": "a", "output": "b", "images": "[\"p\", \"q\"]"})"), "x.csv", 2};
  CHECK(contains(error_of([&] { convert(row, info, &qwen_vl::tools); }),
                 "x.csv row 2: \"images\" is a list written as text"));
}

TEST_CASE("Records: a column that no record has is an error that names the likely one") {
  DatasetInfo info = info_of(sharegpt);
  const std::vector<Row> rows = {{Json::parse(R"({"messages": [], "image": []})"), "x.json", 1}};
  const std::string error = error_of([&] { data::detail::check_columns_exist(data::detail::columns_of(rows), info); });
  CHECK(contains(error, "no record of x.json has the column \"conversations\""));
  CHECK(contains(error, "the first has messages, image"));
  info.columns.messages = "messages", info.columns.given = true;
  CHECK(contains(error_of([&] { data::detail::check_columns_exist(data::detail::columns_of(rows), info); }),
                 "\"images\" (did you mean image?)"));
}
