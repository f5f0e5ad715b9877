#include <lamina/grammar/compile.hpp>

#include "grammar/answers.hpp"

using namespace lamina;
using namespace lamina::test;

TEST_CASE("vocabulary: each token is found at the node of its last byte, once") {
  const Vocabulary vocabulary({"ab", "", "a", "ab", "b", "abc", "\xff"}, {1});
  std::vector<int> found(7, 0);
  for (const auto& node : vocabulary.nodes())
    for (const int token : vocabulary.tokens_at(node)) {
      ++found[static_cast<std::size_t>(token)];
      CHECK(static_cast<unsigned char>(vocabulary.text(token).back()) == node.byte);
      CHECK(vocabulary.text(token).size() == node.depth + std::size_t{1});
    }
  CHECK(found == std::vector<int>{1, 0, 1, 1, 1, 1, 1});
  CHECK(vocabulary.longest_token_bytes() == 3);
  CHECK(vocabulary.nodes().size() == 5);
}

TEST_CASE("matcher: the answer may end exactly where the grammar does, and nothing comes after") {
  Answers answers(regex_grammar("ab?"));
  Matcher matcher(answers.compiled());
  const int end = small_vocabulary()->ends().front();
  CHECK(!matcher.can_end());
  CHECK(!matcher.accept(end));
  CHECK(matcher.accept('a'));
  CHECK(!matcher.accept('a'));  // and it is where it was
  CHECK(matcher.can_end());
  CHECK(matcher.accept(end));
  CHECK(!matcher.accept('b'));
  const auto mask = Answers::mask_of(matcher);
  for (int token = 0; token < small_vocabulary()->size(); ++token) CHECK(Answers::has(mask, token) == (token == end));
}

TEST_CASE("matcher: forks go their own ways") {
  Answers answers(regex_grammar("a(b|c)d"));
  Matcher one(answers.compiled());
  CHECK(one.accept('a'));
  Matcher two = one.fork();
  CHECK(one.accept('b'));
  CHECK(two.accept('c'));
  CHECK(one.accept('d'));
  CHECK(!two.accept('c'));
}

TEST_CASE("matcher: what is learnt is forgotten when it takes too much memory, and answers go on") {
  const std::string text = "[" + [] {
    std::string inner;
    for (int i = 0; i < 40; ++i)
      inner += "{\"k" + std::to_string(i) + "\": [" + std::to_string(i * 37) + ", null, \"\xc3\xa9\"]}, ";
    return inner;
  }() + "{}]";
  Answers small(json_schema_grammar(grammar::Json::parse("{}")), 20000);
  Matcher other(small.compiled());
  REQUIRE(other.accept("[{\"a\":"));
  CHECK(small.accept(text));
  small.check_mask("[{\"k0\": [0, nu");
  CHECK(small.compiled()->bytes() < 200000);
  CHECK(other.accept("1}]"));
  CHECK(other.can_end());
}

TEST_CASE("grammar cache: equal constraints share a grammar; those asked for long ago leave") {
  GrammarCache cache;
  const Constraint digits{.kind = Constraint::Kind::regex, .text = "\\d+"};
  const auto first = compile(digits, "regex", small_vocabulary(), cache);
  CHECK(compile(digits, "regex", small_vocabulary(), cache) == first);
  Constraint other = digits;
  other.compact = true;
  CHECK(compile(other, "regex", small_vocabulary(), cache) != first);
  for (std::size_t i = 0; i < GrammarCache::most; ++i)
    compile({.kind = Constraint::Kind::regex, .text = "a{" + std::to_string(i) + "}"}, "regex", small_vocabulary(),
            cache);
  CHECK(cache.find(digits) == nullptr);
}

TEST_CASE("a mask is not longer than its span, and bits beyond the vocabulary are clear") {
  Answers answers(regex_grammar(".*"));
  Matcher matcher(answers.compiled());
  std::vector<std::uint64_t> wide(40, ~std::uint64_t{0}), narrow(1, 0);
  CHECK(matcher.mask(wide));
  CHECK(wide.back() == 0);
  CHECK(matcher.mask(narrow));
}
