#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include <lamina/train/predict/similarity.hpp>

#include "support/catch.hpp"

using namespace lamina;

namespace {

nlohmann::json golden() {
  std::ifstream in(LAMINA_GOLDEN_DIR "/train/similarity.json");
  return nlohmann::json::parse(in);
}
std::string utf8(const std::u32string& text) {
  std::string out;
  for (char32_t c : text) io::append_utf8(out, c);
  return out;
}

}  // namespace

TEST_CASE("cut_words: cuts as jieba does, each ideograph alone") {
  for (const auto& pair : golden()) {
    std::vector<std::string> words;
    for (const auto& word : text::cut_words(pair["predict"].get<std::string>())) words.push_back(utf8(word));
    CHECK(words == pair["words"].get<std::vector<std::string>>());
  }
}

TEST_CASE("similarity: BLEU-4 and ROUGE are nltk's and rouge_chinese's") {
  // Both round to 4 decimals: a value at a rounding boundary may fall on either side.
  const auto same = [](double ours, const nlohmann::json& theirs) {
    return std::abs(ours - theirs.get<double>()) < 1.5e-4;
  };
  for (const auto& pair : golden()) {
    INFO(pair.dump());
    const train::Similarity s = train::similarity(pair["predict"].get<std::string>(), pair["label"].get<std::string>());
    CHECK(same(s.bleu_4, pair["bleu-4"]));
    CHECK(same(s.rouge_1, pair["rouge-1"]));
    CHECK(same(s.rouge_2, pair["rouge-2"]));
    CHECK(same(s.rouge_l, pair["rouge-l"]));
  }
}

TEST_CASE("exact_match: white space at the ends does not count, inside it does") {
  CHECK(train::exact_match("a b", "a b\n"));
  CHECK(train::exact_match("", " \n"));
  CHECK_FALSE(train::exact_match("a b", "a  b"));
  CHECK_FALSE(train::exact_match("", "a"));
}
