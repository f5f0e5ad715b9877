#include <lamina/grammar/compile.hpp>

#include "grammar/answers.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using lamina::testing::error_of;

namespace {

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}
Constraint bound(Constraint::Kind kind, std::string text) { return {.kind = kind, .text = std::move(text)}; }
/// Compiles and follows a text, with masks. Returns the message, if there is one, with which that ended.
std::string follow(const Constraint& constraint, const std::string& text, const GrammarLimits& limits = {}) {
  return error_of([&] {
    const auto grammar =
        std::make_shared<CompiledGrammar>(read_constraint(constraint, "grammar", limits), small_vocabulary());
    Matcher matcher(grammar);
    for (const char c : text) {
      Answers::mask_of(matcher);
      if (!matcher.accept(std::string_view(&c, 1))) fail("does not go on");
    }
    CHECK(grammar->bytes() < std::size_t{256} << 20);
  });
}
using Kind = Constraint::Kind;

}  // namespace

TEST_CASE("hostile: repetitions of any size cost nothing before they come") {
  CHECK(follow(bound(Kind::regex, "a{500000000,999999999}"), repeated("a", 500)) == "");
  CHECK(follow(bound(Kind::regex, repeated("(", 60) + "a" + repeated("{1000}){1000}", 60)), repeated("a", 50)) !=
        "does not go on");
  CHECK(follow(bound(Kind::json_schema, R"({"type":"array","minItems":1000000000})"), "[[[[") == "");
  CHECK(follow(bound(Kind::json_schema, R"({"type":"string","minLength":900000000,"maxLength":1000000000})"),
               "\"abc") == "");
}

TEST_CASE("hostile: ambiguous grammars stay small, or end with a message") {
  CHECK(follow(bound(Kind::regex, "(a|a)*" + repeated("(a|aa|aaa)*", 50)), repeated("a", 60)) == "");
  CHECK(follow(bound(Kind::regex, repeated("(a?){1,999}", 100)), repeated("a", 60)) == "");
  CHECK(follow(bound(Kind::ebnf, "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\""), repeated("a", 60)) == "");
  CHECK(follow(bound(Kind::ebnf, "root ::= \"a\" root root | \"a\""), repeated("a", 60)) != "does not go on");
  const std::string deep = follow(bound(Kind::regex, "(((a|aa){1,9999}){1,9999}){1,9999}b"), repeated("a", 80));
  CHECK((deep == "" || deep.find("less ambiguous") != deep.npos));
}

TEST_CASE("hostile: nesting is bounded when it is read and when it is followed") {
  CHECK(says(follow(bound(Kind::regex, repeated("(", 30000)), ""), {"nested deeper than 200"}));
  CHECK(says(follow(bound(Kind::ebnf, "root ::= " + repeated("(", 30000)), ""), {"nested deeper than 200"}));
  CHECK(says(follow(bound(Kind::json_schema, repeated(R"({"items":)", 250) + "{}" + repeated("}", 250)), ""),
             {"nested deeper than 128"}));
  CHECK(says(follow(bound(Kind::json_object, ""), "{\"a\":" + repeated("[", 1000)), {"does not go on"}));
  const std::string chain = [] {
    std::string rules = "root ::= r0\n";
    for (int i = 0; i < 3000; ++i) rules += "r" + std::to_string(i) + "::=r" + std::to_string(i + 1) + "\n";
    return rules + "r3000 ::= \"a\"";
  }();
  CHECK(follow(bound(Kind::ebnf, chain), "a") == "");
}

TEST_CASE("hostile: large enums, objects and choices") {
  std::string list, properties;
  for (int i = 0; i < 5000; ++i) list += (i ? ",\"v" : "\"v") + std::to_string(i) + "\"";
  for (int i = 0; i < 1500; ++i) properties += (i ? ",\"p" : "\"p") + std::to_string(i) + "\":{\"type\":\"integer\"}";
  CHECK(follow(bound(Kind::json_schema, "{\"enum\":[" + list + "]}"), "\"v4999\"") == "");
  CHECK(follow(bound(Kind::json_schema, "{\"properties\":{" + properties + "}}"), "{\"p7\":1,\"p1499\":2}") == "");
  CHECK(follow(bound(Kind::json_schema, "{\"properties\":{" + properties + "},\"additionalProperties\":true}"),
               "{\"p7\":1,\"q\":2}") == "");
  CHECK(says(follow(bound(Kind::regex, std::string(70000, 'a')), ""), {"has 70000 bytes, wanted at most 65536"}));
}

TEST_CASE("hostile: schemas that grow when they are joined end in time") {
  std::string definitions;
  for (int i = 0; i < 40; ++i) {
    const std::string next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + "\"}";
    definitions += "\"d" + std::to_string(i) + R"(":{"allOf":[)" + next + "," + next + "]},";
  }
  const std::string schema = R"({"$ref":"#/$defs/d0","$defs":{)" + definitions + R"("d40":{"type":"null"}}})";
  CHECK(says(follow(bound(Kind::json_schema, schema), "", {.time = std::chrono::milliseconds(50)}),
             {"to compile: make it simpler"}));
}
