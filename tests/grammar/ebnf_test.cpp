#include <lamina/grammar/notation/ebnf.hpp>

#include "grammar/answers.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using lamina::testing::error_of;

namespace {
bool ebnf_matches(std::string_view ebnf, std::string_view text) { return Answers(ebnf_grammar(ebnf)).accept(text); }
std::string ebnf_refusal(std::string_view ebnf) {
  return error_of([&] { Answers(ebnf_grammar(ebnf)); });
}
constexpr const char* arithmetic = R"x(# sums of numbers
root  ::= term ("+" term)*
term  ::= number
        | "(" root ")"   # nested
number ::= [0-9]+ | "-" [1-9] [0-9]{0,2})x";
}  // namespace

TEST_CASE("EBNF: rules name each other, also before they are defined and inside themselves") {
  for (const char* text : {"1", "1+2", "(1+-23)+4", "((((5))))"}) CHECK(ebnf_matches(arithmetic, text));
  for (const char* text : {"", "1+", "(1", "-0", "-1234", "1)"}) CHECK(!ebnf_matches(arithmetic, text));
  Answers(ebnf_grammar(arithmetic)).check_masks_along("(12+(-1))+3");
}

TEST_CASE("EBNF: texts, classes and escapes") {
  CHECK(ebnf_matches(R"x(root ::= "a\"\n\x41\u00e9" [^"\n]{2} .)x", "a\"\nA\xc3\xa9xy\n"));
  CHECK(ebnf_matches("root ::= 'yes' | \"no\"", "yes"));
  CHECK(ebnf_matches("root ::= [a-c\\]-]+", "a]-b"));
  CHECK(ebnf_matches("root ::= (\"a\" |) \"b\"?", ""));
  CHECK(ebnf_matches("root::=x\r\nx::=\"\xe4\xb8\xad\"", "\xe4\xb8\xad"));
}

TEST_CASE("EBNF: what is wrong is refused by name, with its place") {
  CHECK(says(ebnf_refusal("root ::= x"), {"x is used but not defined"}));
  CHECK(says(ebnf_refusal("a ::= \"x\""), {"no rule named root"}));
  CHECK(says(ebnf_refusal("root ::= \"a\"\nroot ::= \"b\""), {"root is defined twice"}));
  CHECK(says(ebnf_refusal("root ::= root \"a\" | \"b\""), {"\"root\" begins with itself"}));
  CHECK(says(ebnf_refusal("root ::= \"a\"? x\nx ::= root \"b\" | \"c\""), {"begins with itself"}));
  CHECK(says(ebnf_refusal("root ::= \"a\" root"), {"\"root\" can never end"}));
  CHECK(says(ebnf_refusal("start: \"a\""), {"looks like Lark"}));
  CHECK(says(ebnf_refusal("root ::= (=\"a\")"), {"look-ahead"}));
  CHECK(says(ebnf_refusal("root ::= \"a"), {"ends too early"}));
  CHECK(says(ebnf_refusal("root ::= [c-a]"), {"a range in [ ] that is not one"}));
  CHECK(says(ebnf_refusal(""), {"is empty"}));
  CHECK(says(ebnf_refusal("root ::= (\"a\""), {"without its )"}));
  CHECK(says(ebnf_refusal("root ::= \"\\ud83d\""), {"surrogate"}));
}

TEST_CASE("choice: one of the texts as a whole") {
  Answers answers(choice_grammar({"yes", "no", "nob"}));
  for (const char* text : {"yes", "no", "nob"}) CHECK(answers.accept(text));
  for (const char* text : {"", "ye", "yesno"}) CHECK(!answers.accept(text));
  answers.check_masks_along("nob");
  CHECK(says(error_of([] { choice_grammar({}); }), {"choice: is empty"}));
}
