#include <lamina/io/json.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using Json = nlohmann::ordered_json;

TEST_CASE("JSON: values are those of nlohmann's parser; of a repeated key the last counts, if that is asked for") {
  const io::JsonLimits lax{.unique_keys = false};
  for (const std::string text :
       {R"({"a":1,"b":[1,{"c":{},"d":[]}],"a":2,"z":null,"b":"x","":true,"a":-3})", "[]", "{}", "3", "-0.5e3",
        "\"\\u00e9\"", R"([[[{"a":[{"a":{"a":1}}]}]],18446744073709551615,-9223372036854775808])", "  null \n"}) {
    CAPTURE(text);
    CHECK(io::parse_json<Json>(text, lax).dump() == Json::parse(text).dump());
    CHECK(io::parse_json<nlohmann::json>(text, lax) == nlohmann::json::parse(text));
  }
}

TEST_CASE("JSON: what is not JSON says where, what was found and what was wanted, or is discarded") {
  using namespace std::string_literals;
  const std::pair<std::string, std::string> mistakes[] = {
      {"", "line 1, column 1: the text ends, wanted a value"},
      {"{", "line 1, column 2: the text ends, wanted a text in quotes"},
      {"{\n \"a\": [1,\n  }\n}", "line 3, column 3: found }, wanted a value"},
      {"{\"a\" 1}", "line 1, column 6: found a number, wanted :"},
      {"[1 2]", "line 1, column 4: found a number, wanted a comma or ]"},
      {"[1,]", "line 1, column 4: found ], wanted a value"},
      {"{1:2}", "line 1, column 2: found a number, wanted a text in quotes"},
      {"{a:1}", "line 1, column 2: found a, wanted a value, or a text in double quotes"},
      {"NaN", "line 1, column 1: found N, wanted a value, or a text in double quotes"},
      {"{} {}", "line 1, column 4: found {, wanted nothing after the value"},
      {"{\"a\":1} x", "line 1, column 9: found x, wanted a value, or a text in double quotes"},
      {"{}\0 the rest"s, "line 1, column 3: found a NUL byte, which no JSON text holds"},
      {"\"a\0b\""s, "line 1, column 3: found a NUL byte, which no JSON text holds"},
      {"1e999", "line 1, column 5: the number is too large, wanted one up to 1.8e308"},
      {"\"abc", "line 1, column 5: the text ends, wanted a closing quote"},
      {"\"\xff\"", "line 1, column 2: ill-formed UTF-8 byte"},
      {"\"a\nb\"", "line 1, column 3: control character U+000A (LF) must be escaped to \\u000A or \\n"}};
  for (const auto& [text, mistake] : mistakes) {
    CAPTURE(text);
    CHECK(testing::error_of([&, &text = text] { io::parse_json<Json>(text, {.subject = "f.json"}); }) ==
          "f.json: not valid JSON: " + mistake);
    CHECK(io::try_parse_json<Json>(text).is_discarded());
  }
}

TEST_CASE("JSON: limits hold just below and just above") {
  const io::JsonLimits limits{.subject = "x", .depth = 3, .members = 2, .items = 5, .values = 6};
  const auto refused = [&](const std::string& text) {
    return testing::error_of([&] { io::parse_json<Json>(text, limits); });
  };
  CHECK(refused(R"({"a":[[1]],"b":2})").empty());
  CHECK(refused("[[[[]]]]") == "x: JSON nested deeper than 3 levels");
  CHECK(refused(R"({"a":1,"b":1,"c":1})") == "x: an object of more than 2 members");
  CHECK(refused("[1,2,3,4,5]").empty());
  CHECK(refused("[1,2,3,4,5,6]") == "x: JSON of more than 6 values");
  const io::JsonLimits unique{.subject = "x"};
  for (const std::string text : {R"({"a":{"b":1,"c":2,"b":3}})", R"([{"b":1,"b":1}])"}) {
    CHECK(testing::error_of([&] { io::parse_json<Json>(text, unique); }) == "x: b is set twice: keep one");
    CHECK(testing::error_of([&] { io::parse_json<nlohmann::json>(text, unique); }) == "x: b is set twice: keep one");
  }
  CHECK(io::parse_json<Json>(R"({"a":{"b":1},"b":2})", unique).size() == 2);
}

TEST_CASE("JSON: a file is bounded in depth, members, items and values without being asked") {
  const auto list = [](std::string_view item, std::size_t n) {
    std::string text = "[";
    for (std::size_t i = 0; i < n; ++i) text.append(i ? "," : "").append(item);
    return text + "]";
  };
  const auto object = [](std::size_t n) {
    std::string text = "{";
    for (std::size_t i = 0; i < n; ++i) text += cat(i ? "," : "", '"', i, "\":0");
    return text + "}";
  };
  const std::size_t members = 1 << 20, items = 1 << 22, values = 1 << 24;
  const auto refused = [](const std::string& text) {
    return testing::error_of([&] { io::parse_json<nlohmann::json>(text); });
  };
  CHECK(refused(list("0", items)).empty());
  CHECK(refused(list("0", items + 1)) == "JSON: a list of more than 4194304 items");
  CHECK(io::try_parse_json<nlohmann::json>(list("0", items + 1)).is_discarded());
  CHECK(refused(object(members)).empty());
  CHECK(refused(object(members + 1)) == "JSON: an object of more than 1048576 members");
  CHECK(refused(list(list("0", 1023), values / 1024 + 1)) == "JSON: JSON of more than 16777216 values");
  const std::string deep = std::string(257, '[') + std::string(257, ']');
  CHECK(testing::error_of([&] { io::parse_json<Json>(deep); }) == "JSON: JSON nested deeper than 256 levels");
  CHECK(io::try_parse_json<Json>(deep).is_discarded());
  CHECK_FALSE(io::try_parse_json<Json>(deep.substr(1, 512)).is_discarded());
}
