#include <lamina/grammar/json/json_schema.hpp>

#include "grammar/answers.hpp"
#include "grammar/random_schema.hpp"

using namespace lamina;
using namespace lamina::test;

namespace {

/// A walk through masks that takes any token at first, and later ones that close what is open.
std::string random_walk(const std::shared_ptr<CompiledGrammar>& grammar, std::mt19937& random) {
  const Vocabulary& vocabulary = grammar->vocabulary();
  Matcher matcher(grammar);
  std::string text;
  for (int step = 0; step < 2000; ++step) {
    const auto mask = Answers::mask_of(matcher);
    std::vector<int> allowed;
    for (int token = 0; token < vocabulary.size(); ++token)
      if (Answers::has(mask, token)) allowed.push_back(token);
    REQUIRE(!allowed.empty());
    int token = allowed[random() % allowed.size()];
    if (step > 60 || random() % 3 == 0) {
      const auto fits = [&](int t) { return Answers::has(mask, t); };
      const int closing[] = {vocabulary.ends().front(), '"', '}', ']', '0', '1', '9', ':'};
      if (const auto it = std::find_if(std::begin(closing), std::end(closing), fits); it != std::end(closing))
        token = *it;
    }
    REQUIRE(matcher.accept(token));
    if (vocabulary.is_end(token)) return text;
    text += vocabulary.text(token);
  }
  return text + " ... without an end";
}

}  // namespace

TEST_CASE("random schemas: whatever is drawn from the masks is JSON that the schema allows") {
  int compiled = 0;
  std::string invalid;
  std::mt19937 random(5);
  for (unsigned seed = 0; compiled < 500; ++seed) {
    REQUIRE(seed < 1000);
    const Json schema = RandomSchema(seed).schema();
    std::shared_ptr<CompiledGrammar> grammar;
    try {
      grammar = std::make_shared<CompiledGrammar>(json_schema_grammar(schema), small_vocabulary());
    } catch (const GrammarError&) {
      continue;  // nothing is within the bounds, say
    }
    ++compiled;
    const std::string text = random_walk(grammar, random);
    const Json value = Json::parse(text, nullptr, false);
    if (!value.is_discarded() && Validator(schema).holds(value)) continue;
    invalid += cat("seed ", seed, ": ", schema.dump(), "\n  ", text, "\n");
  }
  CHECK(invalid == "");
}
