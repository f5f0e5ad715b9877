// What a YAML file means: tests/golden/train/omegaconf.json has OmegaConf's answers.
#include <lamina/io/keys/key_values.hpp>
#include <lamina/io/keys/settings.hpp>

#include <fstream>
#include <set>

#include "support/catch.hpp"
#include "train/fake_run.hpp"
#include "train/helpers.hpp"

using namespace lamina;
using namespace lamina::io;
namespace fake = lamina::train::fake;
using Json = nlohmann::ordered_json;

namespace {

/// Scalars are typed by the key that they are for, so they are compared as the type that OmegaConf finds.
bool same(const Json& ours, const Json& theirs) {
  const Setting setting{ours, "here"};
  if (theirs.is_boolean()) return io::flag_of(setting, "a") == theirs.get<bool>();
  if (theirs.is_number()) return io::number_of(setting, "a") == theirs.get<double>();
  if (theirs.is_string() || theirs.is_null()) return ours == theirs;
  if (ours.type() != theirs.type() || ours.size() != theirs.size()) return false;
  for (const auto& [key, value] : theirs.items()) {
    const bool found = theirs.is_array() || ours.contains(key);
    if (!found || !same(theirs.is_array() ? ours[std::stoul(key)] : ours[key], value)) return false;
  }
  return true;
}

/// Numbers that only YAML 1.1 reads, and interpolation: an error here, so that no other value is taken in silence.
const std::set<std::string> refused = {"a: 010\n",  "a: 0x10\n", "a: 0b11\n",
                                       "a: 1:30\n", "a: ${b}\n", "a: {b: \"${c}\"}\n"};

}  // namespace

TEST_CASE("Settings: a YAML file means what OmegaConf makes of it, or is an error", "[train]") {
  const std::string path = (fake::fresh_directory("settings") / "case.yaml").string();
  for (const auto& c : nlohmann::json::parse(std::ifstream(LAMINA_GOLDEN_DIR "/train/omegaconf.json"))) {
    const auto text = c["text"].get<std::string>();
    INFO(c.dump());
    std::ofstream(path, std::ios::binary) << text;
    const auto compare = [&] {
      Json ours = Json::object();
      for (const auto& [key, setting] : read_yaml(path)) ours[key] = setting.value;
      return same(ours, Json(c["values"]));
    };
    if (!c.contains("values") || refused.contains(text))
      CHECK_THROWS_AS(compare(), Error);
    else if (c["values"].contains("a") && (c["values"]["a"] == "inf" || c["values"]["a"] == "nan"))
      CHECK_THROWS_AS(io::number_of(read_yaml(path).at("a"), "a"), Error);
    else
      CHECK(compare());
  }
}

TEST_CASE("Settings: aliases that repeat each other end in an error, not in the memory's end", "[train]") {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i <= 9; ++i) {
    text += cat("a", i, ": &a", i, " [");
    for (int k = 0; k < 10; ++k) text += cat("*a", i - 1, k < 9 ? ", " : "]\n");
  }
  const std::string path = (fake::fresh_directory("aliases") / "case.yaml").string();
  std::ofstream(path) << text;
  CHECK(fake::contains(fake::error_of([&] { read_yaml(path); }), "more than 100000 values"));
}

TEST_CASE("Settings: text that is not UTF-8 is refused when it is read, by line and key", "[train]") {
  const std::string path = (fake::fresh_directory("settings") / "latin1.yaml").string();
  const auto error = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    return fake::error_of([&] { read_yaml(path); });
  };
  CHECK(fake::contains(error("seed: 1\nrun_name: \xff\xfe\n"), path + " line 2, run_name: the value is not UTF-8"));
  CHECK(fake::contains(error("dataset: [a, caf\xe9]\n"), path + " line 1, dataset: the value is not UTF-8"));
  CHECK(fake::contains(error("a: 1\ncl\xe9: 1\n"), path + " line 2: a key is not UTF-8"));
  CHECK(error("run_name: caf\xc3\xa9\n") == "");
  CHECK(error("dataset: [\"a\\0b\"]\n") == path + " line 1, dataset: the value holds a NUL byte: remove it");
  CHECK(fake::contains(error("\xff\xfe\n"), path + ": is not UTF-8 text"));  // what UTF-16 begins with
  CHECK(fake::contains(error("seed: 1  # caf\xe9\n"), path + ": is not UTF-8 text"));
  const std::vector<std::string> words = {"--model_name_or_path", "mod\xe8le"};
  std::vector<std::string> notes;
  CHECK(fake::contains(fake::error_of([&] { read_settings(words, notes); }), "model_name_or_path"));
  CHECK(fake::contains(fake::error_of([&] { read_settings(words, notes); }),
                       "the value is not UTF-8 text: write it as UTF-8"));
}

TEST_CASE("Settings: a key that the command line sets twice is said to be so", "[train]") {
  std::vector<std::string> notes;
  const auto given = read_settings(std::vector<std::string>{"a=1", "--b", "2", "--a", "3", "c.x=1", "c.y=2"}, notes);
  CHECK(given.at("a").value == "3");
  CHECK(notes == std::vector<std::string>{"the command line: a: given twice, the last one holds"});
}

TEST_CASE("Settings: a second document names the file and what to do", "[train]") {
  const std::string path = (fake::fresh_directory("documents") / "case.yaml").string();
  std::ofstream(path) << "a: 1\n---\nlearning_rate: 1.0e-3\n";
  CHECK(fake::contains(fake::error_of([&] { read_yaml(path); }), "case.yaml: a line `---` or `...` begins a second"));
}
