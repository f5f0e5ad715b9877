#include <lamina/grammar/notation/structural_tag.hpp>

#include "grammar/answers.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using lamina::testing::error_of;

namespace {
Grammar read(const char* tag) { return structural_tag_grammar(grammar::Json::parse(tag)); }
std::string tag_refusal(const char* tag) {
  return error_of([&] { Answers(read(tag)); });
}
}  // namespace

TEST_CASE("structural tags: free text, in which a trigger begins what is bound") {
  Answers answers(read(R"x({"type":"structural_tag","triggers":["<f"],"structures":[
      {"begin":"<f=a>","schema":{"type":"integer"},"end":"</f>"},
      {"begin":"<f=b>","schema":{"type":"null"},"end":"</f>"}]})x"));
  for (const char* text : {"", "hello < world", "x <f=a>12</f> y <f=b>null</f>", "<<f=a>1</f>"})
    CHECK(answers.accept(text));
  for (const char* text : {"<f", "<f=c>", "<f=a>null</f>", "<f=a>1", "a<f=a>1</f"}) CHECK(!answers.accept(text));
  answers.check_masks_along("no <<f=a>12</f> <");
}

TEST_CASE("structural tags: formats") {
  Answers sequence(read(R"x({"type":"structural_tag","format":{"type":"sequence","elements":[
      {"type":"const_string","value":"think:"},
      {"type":"or","elements":[{"type":"regex","pattern":"\\d+"},{"type":"grammar","grammar":"root ::= \"yes\" | \"no\""}]},
      {"type":"tag","begin":"<a>","content":{"type":"any_text"},"end":"</a>"},
      {"type":"json_schema","json_schema":{"type":"boolean"}}]}})x"));
  for (const char* text : {"think:12<a></a>true", "think:no<a>b</</a>false"}) CHECK(sequence.accept(text));
  for (const char* text : {"think:<a></a>true", "think:1<a></a>x</a>true"}) CHECK(!sequence.accept(text));
  Answers triggered(
      read(R"x({"type":"structural_tag","format":{"type":"triggered_tags","triggers":["<t"],"at_least_one":true,
      "stop_after_first":true,"tags":[{"begin":"<t>","content":{"type":"regex","pattern":"a*"},"end":"."}]}})x"));
  for (const char* text : {"<t>aa.", "so <t>."}) CHECK(triggered.accept(text));
  for (const char* text : {"", "so", "<t>. more"}) CHECK(!triggered.accept(text));
  Answers separated(read(R"x({"type":"structural_tag","format":{"type":"tags_with_separator","separator":",",
      "tags":[{"begin":"(","content":{"type":"regex","pattern":"a"},"end":")"
}]
}
})x"));
  for (const char* text : {"", "(a)", "(a),(a)"}) CHECK(separated.accept(text));
  for (const char* text : {"(a),", ",(a)"}) CHECK(!separated.accept(text));
}

TEST_CASE("structural tags: what is wrong is refused with its path") {
  CHECK(says(tag_refusal(R"x({})x"), {"structural_tag: has neither format nor structures"}));
  CHECK(
      says(tag_refusal(R"x({"format":{"type":"x"}})x"), {"structural_tag.format.type: is \"x\", wanted const_string"}));
  CHECK(says(tag_refusal(R"x({"structures":[{"begin":"<a>","schema":{},"end":""}],"triggers":["<b"]})x"),
             {"structural_tag.triggers"}));
  CHECK(says(tag_refusal(R"x({"structures":[{"begin":"<a>","schema":{"not":{}},"end":""}],"triggers":["<a"]})x"),
             {"structural_tag.structures.0.schema.not: this keyword"}));
  CHECK(
      says(tag_refusal(R"x({"format":{"type":"regex","pattern":"("}})x"), {"structural_tag.format: regex: at byte 1"}));
  CHECK(says(tag_refusal(R"x({"structures":[],"triggers":["<b"]})x"), {"structural_tag.structures"}));
  CHECK(says(tag_refusal(R"x({"structures":[{"begin":"<a>","schema":{},"end":""}],"triggers":[""]})x"),
             {"structural_tag.triggers"}));
}
