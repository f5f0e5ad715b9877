#include <lamina/grammar/json/json_schema.hpp>

#include "grammar/answers.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using lamina::testing::error_of;

namespace {
/// Checks texts that a schema allows and ones that it does not.
void check(const char* schema, std::vector<const char*> good, std::vector<const char*> bad,
           const JsonLayout& layout = {}) {
  Answers answers(json_schema_grammar(grammar::Json::parse(schema), layout));
  INFO(schema);
  for (const char* text : good) {
    INFO(text);
    CHECK(answers.accept(text));
  }
  for (const char* text : bad) {
    INFO(text);
    CHECK(!answers.accept(text));
  }
}
std::string schema_refusal(const char* schema) {
  return error_of([&] { Answers(json_schema_grammar(grammar::Json::parse(schema))); });
}
}  // namespace

TEST_CASE("JSON schema: type") {
  check(R"({"type":"string"})", {R"("")", R"("a\n\u00e9")", "\"\xe4\xb8\xad\"", R"("\ud83d\ude00")"},
        {"a", "\"", "\"\n\"", R"("\x")", R"("\ud83d")", "\"\xe4\xb8\""});
  check(R"({"type":"integer"})", {"0", "-7", "120"}, {"01", "1.0", "1e3", "-", "+1"});
  check(R"({"type":"number"})", {"0", "-7.25", "1e9", "1.5E-3"}, {".5", "1.", "1e", "NaN"});
  check(R"({"type":"boolean"})", {"true", "false"}, {"True", "null"});
  check(R"({"type":"null"})", {"null"}, {"nul", "0"});
  check(R"({"type":["string","null"]})", {R"("a")", "null"}, {"1"});
  check(R"({})", {"{}", "[1, {\"a\": []}]", "null", "-1.5", "\"x\""}, {"", "[1,]", "{\"a\"}"});
  check("true", {"1"}, {""});
  CHECK(says(schema_refusal(R"({"type":"date"})"), {"json.type: is \"date\", wanted object"}));
}

TEST_CASE("JSON schema: properties and required, in their order") {
  const char* schema = R"({"type":"object","properties":{"name":{"type":"string"},"a":{"type":"integer"},
                           "b":{"type":"null"}},"required":["a"]})";
  check(schema,
        {R"({"name":"ab","a":1,"b":null})", R"({"a":12})", "{ \"name\" : \"\" ,\n  \"a\": 1 }", R"({"a":1,"b":null})"},
        {R"({})", R"({"name":"x"})", R"({"a":1,})", R"({,"a":1})", R"({"b":null,"a":1})", R"({"a":1,"c":2})",
         R"({"a":"1"})"});
  check(R"({"properties":{"a":{"type":"null"},"b":{"type":"null"}}})",
        {"{}", R"({"a":null})", R"({"b":null})", R"({"a":null,"b":null})"}, {R"({"b":null,"a":null})"});
  check(R"({"type":"object"})", {"{}", R"({"x":[1],"y":{"z":null}})"}, {"[]", "{x:1}"});
  check(R"({"properties":{"a\"\u00e9":{"type":"null"}},"required":["a\"\u00e9"]})", {"{\"a\\\"\xc3\xa9\":null}"},
        {"{}"});
  CHECK(says(schema_refusal(R"({"properties":{"a":{}},"required":["b"]})"), {"json.required", "b is none"}));
  CHECK(says(schema_refusal(R"({"properties":{"a":{"properties":{"b":{"type":"strin"}}}}})"),
             {"json.properties.a.properties.b.type: is \"strin\""}));
}

TEST_CASE("JSON schema: additionalProperties") {
  check(R"({"properties":{"ab":{"type":"string"}},"additionalProperties":{"type":"null"}})",
        {R"({"ab":"x"})", R"({"ab":"x","abc":null,"a":null})", R"({"b":null})", R"({"x":null})"},
        {R"({"ab":null})", R"({"b":"x"})", R"({"":null})", R"({"\u0061b":null})"});
  check(R"({"properties":{"a":{"type":"null"}},"additionalProperties":true})", {R"({"a":null,"b":[1]})"},
        {R"({"a":1})"});
  check(R"({"properties":{"a":{"type":"null"}},"additionalProperties":false})", {R"({"a":null})"}, {R"({"b":1})"});
  check(R"({"additionalProperties":{"type":"integer"}})", {"{}", R"({"k":1,"l":2})"}, {R"({"k":"1"})"});
  check(R"({"type":"object","required":["x"],"additionalProperties":{"type":"integer"}})", {R"({"x":1,"y":2})"},
        {"{}"});
  check(R"({"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2})",
        {R"({"a":1})", R"({"a":1,"b":2})"}, {"{}", R"({"a":1,"b":2,"c":3})"});
  check(R"({"type":"object","additionalProperties":false})", {"{}", "{ }"}, {R"({"a":1})"});
  CHECK(says(schema_refusal(R"({"properties":{"a":{}},"minProperties":1})"), {"json.minProperties"}));
}

TEST_CASE("JSON schema: enum and const") {
  check(R"({"enum":["red","a\"b",1,null,{"a":[1]}]})", {R"("red")", R"("a\"b")", "1", "null", R"({"a":[1]})"},
        {"red", R"("blue")", "2"});
  check(R"({"type":"string","enum":["red",1]})", {R"("red")"}, {"1"});
  check(R"({"const":"yes"})", {R"("yes")"}, {R"("no")"});
  CHECK(says(schema_refusal(R"({"enum":[]})"), {"json.enum"}));
  CHECK(says(schema_refusal(R"({"type":"string","enum":[1]})"), {"json.enum"}));
}

TEST_CASE("JSON schema: items, prefixItems, minItems and maxItems") {
  check(R"({"type":"array","items":{"type":"integer"}})", {"[]", "[ ]", "[1]", "[1, 2,\n  3]"},
        {"[1,]", "[\"a\"]", "[", "[,1]"});
  check(R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3})", {"[1,2]", "[1,2,3]"},
        {"[]", "[1]", "[1,2,3,4]"});
  check(R"({"type":"array","minItems":1})", {"[1]", "[{},[]]"}, {"[]"});
  check(R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"});
  check(R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})", {"[]", "[1]", R"([1,"a"])"},
        {R"(["a"])", R"([1,"a",2])"});
  check(R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":2,"maxItems":2})", {R"([1,"a"])"},
        {"[]", "[1]", R"([1,"a",1])"});
  check(R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":2,"maxItems":3})",
        {"[1,null]", "[1,null,null]"}, {"[1]", "[null]", "[1,null,null,null]"});
  check(R"({"items":[{"type":"integer"},{"type":"null"}],"minItems":2})", {"[1,null]"}, {"[1]", "[1,null,1]"});
  CHECK(says(schema_refusal(R"({"type":"array","minItems":3,"maxItems":2})"), {"json.minItems: is 3, wanted at most"}));
  CHECK(says(schema_refusal(R"({"type":"array","minItems":-1})"), {"json.minItems: is -1"}));
  CHECK(says(schema_refusal(R"({"type":"array","items":{"type":"null","minItems":1},"maxItems":"2"})"),
             {"json.maxItems"}));
}

TEST_CASE("JSON schema: minLength and maxLength count characters") {
  check(R"({"type":"string","minLength":2,"maxLength":3})",
        {R"("ab")", "\"\xe4\xb8\xad\xc3\xa9\"", R"("\n\u00e9a")", R"("\ud83d\ude00b")"},
        {R"("a")", R"("abcd")", "\"\xe4\xb8\xad\""});
  check(R"({"type":"string","minLength":1})", {R"("a")", R"("aaaaaaaaaaaaaaa")"}, {R"("")"});
  check(R"({"type":"string","maxLength":0})", {R"("")"}, {R"("a")"});
  check(R"({"type":"string","minLength":100})", {}, {R"("aaaaaaaaaaaa")"});
}

TEST_CASE("JSON schema: pattern, written as JSON") {
  check(R"({"type":"string","pattern":"^[a-c]{2}\"?$"})", {R"("ab")", R"("cc\"")"}, {R"("a")", "\"ab\"\"", R"("abc")"});
  check(R"({"type":"string","pattern":"a\\\\\\n"})", {R"("a\\\n")"}, {R"("a")"});
  check(R"({"type":"string","pattern":"\\d{3}","minLength":2,"maxLength":3})", {R"("123")"}, {R"("12")"});
  CHECK(says(schema_refusal(R"x({"type":"string","pattern":"(?=a)"})x"),
             {"json.pattern: regex: at byte 2: a look-ahead"}));
  CHECK(says(schema_refusal(R"({"type":"string","pattern":"a*","minLength":2})"), {"json.minLength"}));
  CHECK(says(schema_refusal(R"({"type":"string","pattern":"a*","maxLength":2})"), {"json.maxLength"}));
}

TEST_CASE("JSON schema: format") {
  const auto format = [](const char* name, std::vector<const char*> good, std::vector<const char*> bad) {
    const std::string schema = std::string(R"({"type":"string","format":")") + name + "\"}";
    check(schema.c_str(), good, bad);
  };
  format("date", {R"("2024-02-28")", R"("1999-12-31")"}, {R"("2024-02-30")", R"("2024-13-01")", R"("24-01-01")"});
  format("time", {R"("23:59:59Z")", R"("00:00:00.5+02:00")"}, {R"("24:00:00Z")", R"("12:00")"});
  format("date-time", {R"("2024-05-31T12:00:00Z")"}, {R"("2024-05-31 12:00:00Z")", R"("2024-05-31")"});
  format("duration", {R"("P3Y6M4D")", R"("PT5M")", R"("P2W")"}, {R"("P")", R"("5M")"});
  format("email", {R"("a.b@example.org")"}, {R"("a@")", R"("@b.c")", R"("a b@c.d")"});
  format("hostname", {R"("a-b.example")"}, {R"("-a")", R"("a..b")"});
  format("ipv4", {R"("192.168.0.255")"}, {R"("256.0.0.1")", R"("1.2.3")"});
  format("ipv6", {R"("2001:db8:0:0:0:0:0:1")", R"("fe80::1")", R"("::1")"}, {R"("1:2")", R"("12345::1")"});
  format("uuid", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"});
  format("uri", {R"("https://example.org:80/a?b=c#d")"}, {R"("example")", R"("http:// a")"});
  format("json-pointer", {R"("")", R"("/a/b~1c")"}, {R"("a")", R"("/~2")"});
  CHECK(
      says(schema_refusal(R"({"type":"string","format":"phone"})"), {"json.format: is \"phone\", wanted date, time"}));
  CHECK(says(schema_refusal(R"({"type":"string","format":"date","pattern":"a"})"), {"json.format"}));
}

TEST_CASE("JSON schema: bounds of integers") {
  check(R"({"type":"integer","minimum":-5,"maximum":120})", {"-5", "0", "7", "99", "120"},
        {"-6", "121", "999", "-0", "05"});
  check(R"({"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":12})", {"10", "11"}, {"9", "12"});
  check(R"({"type":"integer","minimum":1})", {"1", "10", "99999999999999"}, {"0", "-1"});
  check(R"({"type":"integer","maximum":-10})", {"-10", "-123"}, {"-9", "0"});
  check(R"({"type":"integer","minimum":0.5,"maximum":2.5})", {"1", "2"}, {"0", "3"});
  CHECK(
      says(schema_refusal(R"({"type":"integer","minimum":2,"maximum":1})"), {"json: no integer is within the bounds"}));
  CHECK(says(schema_refusal(R"({"type":"integer","minimum":"2"})"), {"json.minimum: is \"2\", wanted a number"}));
  // Every integer of a range, and no other.
  for (const auto& [low, high] : {std::pair{-12, 34}, {7, 7}, {95, 1005}, {-1001, -98}, {0, 0}, {-1, 1}}) {
    Grammar g;
    g.root = *DecimalRange(g).between(low, high);
    auto compiled = std::make_shared<CompiledGrammar>(g, small_vocabulary());
    std::string wrong;
    for (int n = -1200; n <= 1200; ++n) {
      Matcher matcher(compiled);
      const bool accepted = matcher.accept(std::to_string(n)) && matcher.can_end();
      if (accepted != (low <= n && n <= high)) wrong += std::to_string(n) + " ";
    }
    CHECK(wrong == "");
  }
}

TEST_CASE("JSON schema: bounds of numbers") {
  check(R"({"type":"number","minimum":0,"maximum":1})", {"0", "1", "0.5", "0.999"}, {"1.5", "-0.1", "2", "1e0"});
  check(R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1})", {"0.5", "0.001"}, {"0", "1", "0.0", "1.0"});
  check(R"({"type":"number","minimum":-1.5,"maximum":0.25})", {"-1.50", "-0.5", "0", "0.25", "-1"},
        {"-1.51", "0.26", "1", "-2"});
  check(R"({"type":"number","minimum":10})", {"10", "10.5", "123456"}, {"9", "9.9", "-10"});
  check(R"({"type":"number","maximum":-3})", {"-3", "-3.5", "-12.25"}, {"-2", "-2.9", "3"});
}

TEST_CASE("JSON schema: anyOf, oneOf and allOf") {
  check(R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})", {"1", R"("a")"}, {R"("ab")", "null"});
  check(R"({"oneOf":[{"type":"null"},{"const":"x"}]})", {"null", R"("x")"}, {"1"});
  check(R"({"type":"object","properties":{"k":{"type":"string"}},"required":["k"],
            "anyOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},
                     {"properties":{"b":{"type":"null"}}}]})",
        {R"({"a":1,"k":"x"})", R"({"b":null,"k":"x"})", R"({"k":""})"}, {R"({"a":"x","k":"x"})", R"({"a":1})"});
  check(
      R"({"allOf":[{"properties":{"a":{"type":"integer","minimum":3}}},{"properties":{"a":{"maximum":5}},"required":["a"]}]})",
      {R"({"a":3})", R"({"a":5})"}, {"{}", R"({"a":2})", R"({"a":6})"});
  check(R"({"allOf":[{"type":["integer","string"]},{"type":"number"}],"maximum":9})", {"9"}, {"10", R"("a")", "1.5"});
  CHECK(says(schema_refusal(R"({"allOf":[{"type":"string"},{"type":"null"}]})"), {"json.allOf.1.type"}));
  CHECK(says(schema_refusal(R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})"), {"json.allOf.1.pattern"}));
  CHECK(says(schema_refusal(R"({"anyOf":[]})"), {"json.anyOf"}));
}

TEST_CASE("JSON schema: $ref and $defs, also in circles") {
  check(R"({"$defs":{"n/~":{"type":"integer"}},"type":"array","items":{"$ref":"#/$defs/n~1~0"}})", {"[1,2]"},
        {"[null]"});
  check(
      R"({"definitions":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/definitions/node"},
            {"type":"null"}]}},"required":["v","next"]}},"$ref":"#/definitions/node"})",
      {R"({"v":1,"next":{"v":2,"next":null}})"}, {R"({"v":1})", R"({"v":1,"next":{}})"});
  check(R"({"properties":{"children":{"type":"array","items":{"$ref":"#"}}}})",
        {R"({"children":[{},{"children":[]}]})"}, {R"({"children":[1]})"});
  check(R"({"$defs":{"base":{"properties":{"a":{"type":"null"}}}},"$ref":"#/$defs/base","required":["a"]})",
        {R"({"a":null})"}, {"{}"});
  CHECK(says(schema_refusal(R"({"$ref":"#/$defs/none"})"), {"json.$ref", "there is no $defs"}));
  CHECK(says(schema_refusal(R"({"$ref":"http://example.org/x"})"), {"json.$ref"}));
  CHECK(says(schema_refusal(R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})"), {"begins with itself"}));
  CHECK(says(schema_refusal(R"({"allOf":[{"$ref":"#"}]})"), {"nested deeper than"}));
  CHECK(says(schema_refusal(R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})"), {"can never end"}));
}

TEST_CASE("JSON schema: keywords that are not supported are refused by name, annotations are not") {
  for (const char* keyword : {"not", "if", "contains", "patternProperties", "propertyNames", "dependentRequired",
                              "$dynamicRef", "multipleOf", "uniqueItems", "unevaluatedItems"}) {
    const std::string schema = std::string(R"({"properties":{"x":{")") + keyword + R"(":{"type":"null"}}}})";
    CHECK(says(schema_refusal(schema.c_str()), {std::string("json.properties.x.") + keyword + ": this keyword"}));
  }
  check(
      R"({"$schema":"x","title":"T","description":"d","type":"integer","default":1,"examples":[2],"x-note":3,"multipleOf":1})",
      {"5"}, {"null"});
  check(R"({"type":"array","uniqueItems":false})", {"[1]"}, {});
}

TEST_CASE("JSON: white space is free, none, or a pattern") {
  const char* schema =
      R"({"properties":{"a":{"type":"array","items":{"type":"integer"}},"b":{"type":"null"}},"required":["a","b"]})";
  check(schema, {"{\n  \"a\" : [ 1 , 2 ] ,\n \"b\":null}"}, {" {\"a\":[],\"b\":null}", "{\"a\":[],\"b\":null} "});
  check(schema, {R"({"a": [1, 2], "b": null})"}, {R"({"a":[1,2],"b":null})", R"({ "a": [], "b": null})"},
        {.compact = true, .whitespace = {}});
  check(schema, {R"({"a":[1],"b":null})", R"({ "a" : [ 1 ] , "b" : null })"}, {R"({  "a":[],"b":null})"},
        {.compact = false, .whitespace = " ?"});
}

TEST_CASE("JSON schema: the tokens of a mask are those that can come, wherever an answer is") {
  Answers(
      json_schema_grammar(grammar::Json::parse(
          R"({"properties":{"name":{"type":"string","maxLength":400},"a":{"type":"array","items":{"$ref":"#"},"maxItems":3},
                  "n":{"type":"number"}},"additionalProperties":{"type":"string","minLength":3}})")))
      .check_masks_along("{\"name\": \"\xe4\xb8\xad\\u00e9\", \"a\":[{\"n\":-1.5e1}, {}], \"ab\": \"nu\xc3\xa9\"}");
  Answers(json_object_grammar()).check_masks_along(R"({"a":{"b":[true,null,{"c":"\n"}],
  "d":-0.5}})");
}
