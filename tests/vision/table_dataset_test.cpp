#include "vision/golden.hpp"

#include <fstream>
#include <set>

using namespace lamina;
using namespace lamina::vision;

namespace {

std::filesystem::path data_dir() { return std::filesystem::path(LAMINA_SOURCE_DIR) / "data"; }

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

}  // namespace

TEST_CASE("data/tables: 250 readable images, each with a question and one table, none in both splits") {
  const auto registry = read_json(data_dir() / "dataset_info.json");
  std::set<std::string> answers, files;
  for (const auto& [name, count] : {std::pair{"tables_train", 200u}, std::pair{"tables_heldout", 50u}}) {
    const auto records = read_json(data_dir() / registry[name]["file_name"].get<std::string>());
    CHECK(records.size() == count);
    for (const auto& record : records) {
      const std::string file = record["images"].at(0), question = record["messages"].at(0)["content"],
                        answer = record["messages"].at(1)["content"];
      CAPTURE(file, question, answer);
      CHECK(question.starts_with("<image>"));
      CHECK(golden::contains(question, "Markdown"));
      CHECK(golden::contains(answer, "| --- |"));
      answers.insert(answer);
      files.insert(file);
      const Image image = load_image(data_dir() / file);
      CHECK((image.width >= 128 && image.width <= 224 && image.height >= 96 && image.height <= 160));
    }
  }
  CHECK(answers.size() == 250);
  CHECK(files.size() == 250);
}

TEST_CASE("data: stays under 2 MB") {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data_dir() / "tables"))
    if (entry.is_regular_file()) bytes += entry.file_size();
  CHECK(bytes < 2'000'000);
}
