#include <lamina/grammar/notation/regex.hpp>

#include "grammar/answers.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::test;
using lamina::testing::error_of;

namespace {
bool regex_matches(std::string_view regex, std::string_view text) { return Answers(regex_grammar(regex)).accept(text); }
std::string regex_refusal(std::string_view regex) {
  return error_of([&] { Answers(regex_grammar(regex)); });
}
}  // namespace

TEST_CASE("regex: alternatives, groups and repetitions match whole texts") {
  for (const char* text : {"ab", "abab", "c"}) CHECK(regex_matches("(?:ab){1,2}|c", text));
  for (const char* text : {"", "a", "ababab", "abc", "cc"}) CHECK(!regex_matches("(?:ab){1,2}|c", text));
  CHECK(regex_matches("^(a|b)*?$", "abba"));
  CHECK(regex_matches("(?<year>\\d{4})-(?P<month>0[1-9])", "2024-05"));
  CHECK(regex_matches("a{2,}", "aaaa"));
  CHECK(!regex_matches("a{2,}", "a"));
  CHECK(regex_matches("a{0}b", "b"));
  CHECK(regex_matches("", ""));
}

TEST_CASE("regex: counted repetitions of what may be empty, or of each other, count right") {
  for (const char* text : {"", "a", "aaaaaaaa"}) CHECK(regex_matches("(a?){8}", text));
  CHECK(!regex_matches("(a?){8}", "aaaaaaaaa"));
  for (const char* text : {"aaaa", "aaaaaaaa"}) CHECK(regex_matches("((a|aa){2}){2}", text));
  for (const char* text : {"aaa", "aaaaaaaaa"}) CHECK(!regex_matches("((a|aa){2}){2}", text));
  CHECK(regex_matches("(a{2}|b){3}", "aabaa"));
  CHECK(!regex_matches("(a{2}|b){3}", "aabaaa"));
  CHECK(regex_matches("(?:a*)*b", "aab"));
}

TEST_CASE("regex: classes and escapes are sets of characters, in UTF-8") {
  CHECK(regex_matches("[^a-c]", "d"));
  CHECK(regex_matches("[^a-c]", "\xc3\xa9"));
  CHECK(!regex_matches("[^a-c]", "b"));
  CHECK(!regex_matches("[^a-c]", "\xc3"));
  CHECK(regex_matches("[\\d\\-x]+", "1-x"));
  CHECK(regex_matches("\\w+\\s\\S", "a_1 ."));
  CHECK(regex_matches("\\x41\\u00e9\\u{1f600}\\n", "A\xc3\xa9\xf0\x9f\x98\x80\n"));
  CHECK(regex_matches(".", "\xe4\xb8\xad"));
  CHECK(!regex_matches(".", "\n"));
  CHECK(regex_matches("[\xe4\xb8\xad-\xe4\xb9\x80]", "\xe4\xb8\xae"));
  CHECK(!regex_matches("[\xe4\xb8\xad-\xe4\xb9\x80]", "\xe4\xb8\xac"));
  CHECK(regex_matches("\\.\\*\\[", ".*["));
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
  CHECK(says(regex_refusal("a(?=b)"), {"look-ahead (?=)", "at byte 3"}));
  CHECK(says(regex_refusal("a(?!b)"), {"look-ahead (?!)"}));
  CHECK(says(regex_refusal("(?<=a)b"), {"look-behind (?<=)"}));
  CHECK(says(regex_refusal("(a)\\1"), {"back reference"}));
  CHECK(says(regex_refusal("\\bword"), {"word boundary"}));
  CHECK(says(regex_refusal("\\p{L}"), {"Unicode property"}));
  CHECK(says(regex_refusal("(?i)a"), {"inline flags"}));
  CHECK(says(regex_refusal("a^b"), {"^ is understood at the beginning only"}));
  CHECK(says(regex_refusal("a$b"), {"$ is understood at the end only"}));
  CHECK(says(regex_refusal("a++"), {"repetition of a repetition"}));
  CHECK(says(regex_refusal("*a"), {"* repeats nothing"}));
  CHECK(says(regex_refusal("(a"), {"without its )"}));
  CHECK(says(regex_refusal("a)"), {"without its ("}));
  CHECK(says(regex_refusal("[b-a]"), {"a range in [ ] that is not one"}));
  CHECK(says(regex_refusal("[[:alpha:]]"), {"POSIX"}));
  CHECK(says(regex_refusal("a{3,2}"), {"3 to 2 times"}));
  CHECK(says(regex_refusal("a{9999999999}"), {"more than 9 digits"}));
  CHECK(says(regex_refusal("[^\\s\\S]"), {"a set of no characters"}));
  CHECK(says(regex_refusal("\xff"), {"not UTF-8"}));
}
