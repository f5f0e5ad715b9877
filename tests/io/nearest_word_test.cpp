#include <lamina/io/nearest_word.hpp>
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::io;

TEST_CASE("nearest_word: the nearest known word, and none if nothing is near") {
  const std::vector<std::string_view> known = {"export_dir", "export_size", "export_device", "template"};
  CHECK(nearest_word("exprt_dir", known) == "export_dir");
  CHECK(nearest_word("export-size", known) == "export_size");
  CHECK(nearest_word("tempalte", known) == "template");
  CHECK(nearest_word("learning_rate", known) == "");
  CHECK(nearest_word("x", known) == "");
  CHECK(nearest_word("", known) == "");
  CHECK(nearest_word("exp", known) == "export_dir");
  CHECK(did_you_mean("tempalte", known) == " (did you mean template?)");
  CHECK(did_you_mean("learning_rate", known) == "");
  CHECK(edit_distance("abcd", "acbd") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
}

TEST_CASE("listed: words in a row, and how many there are beyond the limit") {
  const std::vector<std::string> words = {"a", "b", "c"};
  CHECK(listed(words) == "a, b, c");
  CHECK(listed(words, 2) == "a, b, ... (3 in all)");
  CHECK(listed(std::vector<std::string>()) == "");
}
