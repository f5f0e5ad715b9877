// Against jieba itself, with a dictionary and a word model of our own: tests/reference/jieba_golden.py.
#include <lamina/text/jieba.hpp>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
namespace fs = std::filesystem;

namespace {

const fs::path golden_files = LAMINA_GOLDEN_DIR "/text/jieba";

std::vector<std::string> cut(const text::Jieba& jieba, const std::string& sentence) {
  std::vector<std::string> words;
  for (const std::u32string& word : jieba.cut(sentence)) {
    words.emplace_back();
    for (const char32_t c : word) io::append_utf8(words.back(), c);
  }
  return words;
}

}  // namespace

TEST_CASE("Jieba: words are jieba's, with the word model and without") {
  const fs::path folder = fs::temp_directory_path() / ("lamina-jieba-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  fs::copy_file(golden_files / "dict.txt", folder / "dict.txt", fs::copy_options::overwrite_existing);
  const text::Jieba with = text::Jieba::load(golden_files / "dict.txt"),
                    without = text::Jieba::load(folder / "dict.txt");
  CHECK(with.finds_new_words());
  CHECK_FALSE(without.finds_new_words());
  int cases = 0;
  for (const auto& c : nlohmann::json::parse(std::ifstream(golden_files / "cuts.json"))) {
    INFO(c.dump());
    const auto sentence = c["text"].get<std::string>();
    CHECK(cut(with, sentence) == c["words"].get<std::vector<std::string>>());
    CHECK(cut(without, sentence) == c["without_model"].get<std::vector<std::string>>());
    ++cases;
  }
  CHECK(cases > 80);
  fs::remove_all(folder);
}

TEST_CASE("Jieba: a file that is no dictionary is named with its line") {
  const fs::path file = fs::temp_directory_path() / ("lamina-dict-" + std::to_string(::getpid()) + ".txt");
  std::ofstream(file) << "a 3\nb\n";
  CHECK(testing::contains(testing::error_of([&] { text::Jieba::load(file); }), "line 2: wanted `word frequency`"));
  std::ofstream(file) << "\n";
  CHECK(testing::contains(testing::error_of([&] { text::Jieba::load(file); }), "holds no word"));
  fs::remove(file);
}

TEST_CASE("Jieba: an installed one is looked for in the active environment first") {
  const fs::path prefix = fs::temp_directory_path() / ("lamina-venv-" + std::to_string(::getpid()));
  fs::create_directories(prefix / "lib/python3.11/site-packages/jieba");
  std::ofstream(prefix / "lib/python3.11/site-packages/jieba/dict.txt") << "a 1\n";
  ::setenv("VIRTUAL_ENV", prefix.c_str(), 1);
  CHECK(text::find_jieba_dictionary() == prefix / "lib/python3.11/site-packages/jieba/dict.txt");
  ::unsetenv("VIRTUAL_ENV");
  fs::remove_all(prefix);
}
