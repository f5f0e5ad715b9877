#include <lamina/engine/request/stop.hpp>
#include <lamina/serve/prompt/prompt_maker.hpp>
#include <lamina/text/tokenizer/stream_decoder.hpp>

#include <map>
#include <string>
#include <vector>

#include "serve/growth.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

/// What clients can make large, each in sizes n and 4 n: no request may cost more than n log n.
using namespace lamina;
using namespace lamina::test;
using lamina::testing::growth_of_fourfold;
using lamina::testing::most_growth;
using lamina::testing::Work;
using serve::Json;

namespace {

std::string repeated(std::string_view unit, std::size_t bytes) {
  std::string out;
  while (out.size() + unit.size() <= bytes) out += unit;
  return out;
}

/// n times "separator unit", the unit with %'s replaced by its number.
std::string many_of(std::string_view unit, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) {
    if (i) out += ',';
    for (const char c : unit) c == '%' ? out += std::to_string(i) : out += c;
  }
  return out;
}

void plan(const std::vector<text::Message>& messages, const text::TemplateOptions& options = {}) {
  const auto& files = RunningServer::files();
  serve::plan_prompt(files, files.processor, messages, options, {}, {}, {.max_model_len = 1 << 28});
}

serve::ChatRequest request_of_body(const std::string& body) {
  const auto& files = RunningServer::files();
  return serve::read_chat_request(*serve::parse_body(body),
                                  {.chat = &files.family->chat, .vocab_size = 151669, .max_model_len = 1 << 20}, {});
}

void check_growth(const std::string& name, const Work& work, std::size_t size) {
  const double growth = growth_of_fourfold(work, size);
  CAPTURE(name, growth);
  CHECK(growth < most_growth);
}

}  // namespace

TEST_CASE("work: text of any kind is tokenized in time that grows with its length") {
  const std::map<std::string, std::string> units = {{"marks of control tokens", "<|"},
                                                    {"control tokens", "<|im_end|>"},
                                                    {"control tokens that do not end", "<|im_end"},
                                                    {"grounding tokens", "<|box_start|>"},
                                                    {"opening brackets", "<"},
                                                    {"one word", "a"},
                                                    {"one word of many letters", "etaoinshrdlu"},
                                                    {"spaces", " "},
                                                    {"line breaks", "\n"},
                                                    {"spaces and line breaks", " \n"},
                                                    {"a line break and spaces", "\n        "},
                                                    {"digits", "7"},
                                                    {"signs", "!"},
                                                    {"apostrophes", "'s"},
                                                    {"combining marks", "\u0301\u0316"},
                                                    {"syllables of Hangul's letters", "\u1112\u1161\u11ab"},
                                                    {"ideographs", "\u6f22"},
                                                    {"joined emoji", "\U0001f469\u200d"},
                                                    {"private use", "\ue000"}};
  for (const auto& [name, unit] : units)
    check_growth(
        name,
        [&, unit = unit](std::size_t n) {
          return [messages = std::vector<text::Message>{
                      {"user", {{text::Part::Kind::text, repeated(unit, n)}}, true, {}}}] { plan(messages); };
        },
        1 << 17);
  check_growth(
      "spaces before a line break",
      [](std::size_t n) {
        const text::Message message{"user", {{text::Part::Kind::text, "\n" + std::string(n, ' ') + "x"}}, true, {}};
        return [message] { plan({message}); };
      },
      1 << 17);
}

TEST_CASE("work: parts, messages and tool calls of any number are rendered in time that grows with them") {
  check_growth(
      "parts that make one word",
      [](std::size_t n) {
        const text::Message message{"user", std::vector<text::Part>(n, {text::Part::Kind::text, "<"}), false, {}};
        return [message] { plan({message}); };
      },
      1 << 16);
  check_growth(
      "messages",
      [](std::size_t n) {
        const std::vector<text::Message> messages(n, {"user", {{text::Part::Kind::text, "<|"}}, true, {}});
        return [messages] { plan(messages); };
      },
      1 << 13);
  check_growth(
      "tool calls",
      [](std::size_t n) {
        const text::Message message{"assistant", {}, true, std::vector<text::ToolCall>(n, {"<|", "{\"a\": \"<|\"}"})};
        return [message] { plan({message}); };
      },
      1 << 13);
  check_growth(
      "tools",
      [](std::size_t n) {
        const text::TemplateOptions options{.tools = std::vector<serve::Json>(n, serve::Json{{"type", "<|"}})};
        return [options] { plan({{"user", {}, true, {}}}, options); };
      },
      1 << 13);
}

TEST_CASE("work: JSON of any shape is read in time that grows with its length") {
  const std::map<std::string, std::pair<std::string, std::string>> bodies = {
      {"members", {"{" + hello + R"(,"x":{)" + "\x01" + "}}", R"("k%":1)"}},
      {"members of the body", {"{" + hello + "," + "\x01" + "}", R"("k%":1)"}},
      {"one key again and again", {"{" + hello + R"(,"x":{)" + "\x01" + "}}", R"("k":"%")"}},
      {"biases", {"{" + hello + R"(,"logit_bias":{)" + "\x01" + "}}", R"("%":1)"}},
      {"stop tokens", {"{" + hello + R"(,"stop_token_ids":[)" + "\x01" + "]}", "%"}},
      {"empty lists", {"{" + hello + R"(,"x":[)" + "\x01" + "]}", "[]"}},
      {"objects", {"{" + hello + R"(,"x":[)" + "\x01" + "]}", R"({"a":{"b":1}})"}},
      {"tools",
       {"{" + hello + R"(,"tool_choice":"none","tools":[)" + "\x01" + "]}",
        R"({"type":"function","function":{"name":"f%"}})"}},
      {"parts",
       {R"({"messages":[{"role":"user","content":[)"
        "\x01"
        "]}]}",
        R"({"type":"text","text":"<|"})"}},
      {"calls",
       {R"({"messages":[{"role":"assistant","tool_calls":[)"
        "\x01"
        "]}]}",
        R"({"function":{"name":"f","arguments":"{\"a\":%,\"a\":1}"}})"}},
      {"arguments",
       {R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{)"
        "\x01"
        R"(}"}}]}]})",
        R"(\"k%\":1)"}}};
  for (const auto& [name, body] : bodies)
    check_growth(
        name,
        [&, body = body](std::size_t n) {
          std::string text = body.first;
          text.replace(text.find('\x01'), 1, many_of(body.second, n));
          return [text] { request_of_body(text); };
        },
        1 << 13);
  // Inner values are not copied when the objects around them grow: a level of nesting costs nothing more.
  check_growth(
      "a long list under many growing objects",
      [](std::size_t n) {
        std::string text = "[" + many_of("{}", n) + "]";
        for (int level = 0; level < 100; ++level) text = R"({"a":)" + text + R"(,"b":1,"c":1,"d":1,"e":1})";
        return [text] { serve::parse_body(text); };
      },
      1 << 13);
  for (const std::string unit : {"7", "\\u0041", "\\\\", "x"})
    check_growth(
        "string of " + unit,
        [&](std::size_t n) { return [text = R"({"x":")" + repeated(unit, n) + "\"}"] { serve::parse_body(text); }; },
        1 << 18);
  check_growth(
      "digits of a number",
      [](std::size_t n) { return [text = R"({"x":0.)" + std::string(n, '7') + "}"] { serve::parse_body(text); }; },
      1 << 18);
}

TEST_CASE("work: answers are matched and decoded in time that grows with their length") {
  check_growth(
      "stop strings that almost match",
      [](std::size_t n) {
        return [n] {
          const std::string almost(1023, 'a');
          std::vector<std::string> stops;
          for (char c = 'b'; c < 'f'; ++c) stops.push_back(almost + c);
          engine::StopMatcher matcher(stops);
          for (std::size_t i = 0; i < n; ++i) matcher.push("a");
          CHECK(matcher.finish().size() == 1023);
        };
      },
      1 << 16);
  const auto& tokenizer = RunningServer::files().tokenizer;
  check_growth(
      "ids",
      [&](std::size_t n) {
        return [&, ids = std::vector<int>(n, tokenizer.encode("\xff").front())] { tokenizer.decode(ids); };
      },
      1 << 19);
  check_growth(
      "streamed bytes of no character",
      [&](std::size_t n) {
        return [&, ids = std::vector<int>(n, *tokenizer.id_of(text::ByteAlphabet().sign(0xe4)))] {
          text::StreamDecoder decoder(tokenizer);
          for (const int id : ids) decoder.push(id);
        };
      },
      1 << 18);
}

TEST_CASE("work: base64 and escapes of URLs are read in time that grows with their length") {
  check_growth(
      "base64", [](std::size_t n) { return [text = repeated("QUJD\n", n)] { serve::decode_base64(text); }; }, 1 << 21);
  check_growth(
      "escapes", [](std::size_t n) { return [text = repeated("%41%", n)] { serve::detail::percent_decoded(text); }; },
      1 << 18);
}

TEST_CASE("work: what is stopped ends with Cancelled, in JSON, text and images") {
  std::stop_source stop;
  stop.request_stop();
  const auto cancelled = stop.get_token();
  const auto& files = RunningServer::files();
  const std::vector<text::Message> messages{{"user", {{text::Part::Kind::text, "Hello"}}, true, {}}};
  CHECK_THROWS_AS(serve::parse_body(R"({"x":[)" + many_of("1", 5000) + "]}", cancelled), Cancelled);
  CHECK_THROWS_AS(
      serve::plan_prompt(files, files.processor, messages, {}, {}, {}, {.max_model_len = 100, .cancelled = cancelled}),
      Cancelled);
  CHECK_THROWS_AS(serve::MediaReader({}).read({{"data:image/png;base64,AAAA", "p"}}, cancelled), Cancelled);
}
