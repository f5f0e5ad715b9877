#include <lamina/grammar/regex.hpp>

#include "grammar/answers.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using lamina::testing::error_of;

namespace {
bool matches(std::string_view regex, std::string_view text) { return Answers(regex_grammar(regex)).accept(text); }
std::string refusal(std::string_view regex) {
  return error_of([&] { Answers(regex_grammar(regex)); });
}
}  // namespace

TEST_CASE("regex: alternatives, groups and repetitions match whole texts") {
  for (const char* text : {"ab", "abab", "c"}) CHECK(matches("(?:ab){1,2}|c", text));
  for (const char* text : {"", "a", "ababab", "abc", "cc"}) CHECK(!matches("(?:ab){1,2}|c", text));
  CHECK(matches("^(a|b)*?$", "abba"));
  CHECK(matches("(?<year>\\d{4})-(?P<month>0[1-9])", "2024-05"));
  CHECK(matches("a{2,}", "aaaa"));
  CHECK(!matches("a{2,}", "a"));
  CHECK(matches("a{0}b", "b"));
  CHECK(matches("", ""));
}

TEST_CASE("regex: counted repetitions of what may be empty, or of each other, count right") {
  for (const char* text : {"", "a", "aaaaaaaa"}) CHECK(matches("(a?){8}", text));
  CHECK(!matches("(a?){8}", "aaaaaaaaa"));
  for (const char* text : {"aaaa", "aaaaaaaa"}) CHECK(matches("((a|aa){2}){2}", text));
  for (const char* text : {"aaa", "aaaaaaaaa"}) CHECK(!matches("((a|aa){2}){2}", text));
  CHECK(matches("(a{2}|b){3}", "aabaa"));
  CHECK(!matches("(a{2}|b){3}", "aabaaa"));
  CHECK(matches("(?:a*)*b", "aab"));
}

TEST_CASE("regex: classes and escapes are sets of characters, in UTF-8") {
  CHECK(matches("[^a-c]", "d"));
  CHECK(matches("[^a-c]", "\xc3\xa9"));
  CHECK(!matches("[^a-c]", "b"));
  CHECK(!matches("[^a-c]", "\xc3"));
  CHECK(matches("[\\d\\-x]+", "1-x"));
  CHECK(matches("\\w+\\s\\S", "a_1 ."));
  CHECK(matches("\\x41\\u00e9\\u{1f600}\\n", "A\xc3\xa9\xf0\x9f\x98\x80\n"));
  CHECK(matches(".", "\xe4\xb8\xad"));
  CHECK(!matches(".", "\n"));
  CHECK(matches("[\xe4\xb8\xad-\xe4\xb9\x80]", "\xe4\xb8\xae"));
  CHECK(!matches("[\xe4\xb8\xad-\xe4\xb9\x80]", "\xe4\xb8\xac"));
  CHECK(matches("\\.\\*\\[", ".*["));
}

TEST_CASE("regex: the tokens of a mask are those that can come, wherever an answer is") {
  Answers(regex_grammar("(ab|abc)+\xe4\xb8\xad?(\\d{2,40}|yes)"))
      .check_masks_along(
          "ababc\xe4\xb8\xad"
          "123");
  Answers(regex_grammar("[a-z\xc3\xa9]{0,300}!")).check_masks_along("abcaaaaaaaa\xc3\xa9");
  Answers(regex_grammar("(a{3,5}b?){2,3}")).check_masks_along("aaaabaaaaaaa");
}

TEST_CASE("regex: what is not supported is refused by name, with its place") {
  CHECK(says(refusal("a(?=b)"), {"look-ahead (?=)", "at byte 3"}));
  CHECK(says(refusal("a(?!b)"), {"look-ahead (?!)"}));
  CHECK(says(refusal("(?<=a)b"), {"look-behind (?<=)"}));
  CHECK(says(refusal("(a)\\1"), {"back reference"}));
  CHECK(says(refusal("\\bword"), {"word boundary"}));
  CHECK(says(refusal("\\p{L}"), {"Unicode property"}));
  CHECK(says(refusal("(?i)a"), {"inline flags"}));
  CHECK(says(refusal("a^b"), {"^ is understood at the beginning only"}));
  CHECK(says(refusal("a$b"), {"$ is understood at the end only"}));
  CHECK(says(refusal("a++"), {"repetition of a repetition"}));
  CHECK(says(refusal("*a"), {"* repeats nothing"}));
  CHECK(says(refusal("(a"), {"without its )"}));
  CHECK(says(refusal("a)"), {"without its ("}));
  CHECK(says(refusal("[b-a]"), {"a range in [ ] that is not one"}));
  CHECK(says(refusal("[[:alpha:]]"), {"POSIX"}));
  CHECK(says(refusal("a{3,2}"), {"3 to 2 times"}));
  CHECK(says(refusal("a{9999999999}"), {"more than 9 digits"}));
  CHECK(says(refusal("[^\\s\\S]"), {"a set of no characters"}));
  CHECK(says(refusal("\xff"), {"not UTF-8"}));
}
