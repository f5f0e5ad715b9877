#include <lamina/io/flags.hpp>
#include <lamina/io/program/program.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using Words = std::vector<std::string>;

namespace {

struct Inner {
  double rate = 0.5;
};
struct Settings {
  std::string name = "x";
  std::vector<std::string> images;
  std::optional<int> top_k;
  bool greedy = false;
  Inner inner;
  std::string device = "auto";
  std::filesystem::path folder;
};
constexpr std::string_view devices[] = {"auto", "cpu"};
constexpr io::Key<Settings> flags[] = {
    io::honoured<&Settings::name>("name", "what it is called"),
    io::honoured<&Settings::images>("image", "may be repeated"),
    io::honoured<&Settings::top_k>("top-k", "0: all").within(-1, 100),
    io::honoured<&Settings::greedy>("greedy", "without chance"),
    io::honoured<&Settings::inner, &Inner::rate>("rate", "of a member of a member"),
    io::honoured<&Settings::folder>("folder", "where to"),
    io::honoured_word<devices, &Settings::device>("device", "auto or cpu"),
    {"cache", io::KeyType::text, io::KeyStatus::refused, "none", "nothing is kept"},
    {"token", io::KeyType::text, io::KeyStatus::accepted, "", "nothing is downloaded"},
};
Settings parse(const Words& words) { return io::parse_flags<Settings>(flags, words, {"name"}); }
std::string error(Words words) {
  words.insert(words.begin(), {"--name", "a"});
  return testing::error_of([&] { parse(words); });
}

int status_of(Words words, int result = 0) {
  std::vector<char*> argv;
  words.insert(words.begin(), "program");
  for (std::string& word : words) argv.push_back(word.data());
  return io::run_program({"program", "--name X", "help\n"}, static_cast<int>(argv.size()), argv.data(), parse,
                         [&](const Settings& settings) {
                           if (settings.greedy) fail("greedy");
                           if (settings.name == "unusable") io::usage("--name unusable: wanted another");
                           return result;
                         });
}

}  // namespace

TEST_CASE("Flags: a row fills its member, in each spelling") {
  const Settings s = parse({"--name=a", "--image", "p", "q", "--image", "r", "--top_k", "1k", "--top-k=7", "--gre",
                            "--rate", "1e-3", "--device", "cpu", "--cache", "none"});
  CHECK(s.name == "a");
  CHECK(s.images == Words{"p", "q", "r"});
  CHECK(s.top_k == 7);
  CHECK(s.greedy);
  CHECK(s.inner.rate == 1e-3);
  CHECK(s.device == "cpu");
  CHECK_FALSE(parse({"--name", "a", "--no-greedy"}).greedy);
  CHECK(parse({"--name", "a"}).inner.rate == 0.5);
}

TEST_CASE("Flags: messages name the flag, what it is and what is wanted") {
  CHECK(error({"--nme", "b"}) == "--nme: is not an option (did you mean name?); --help lists them");
  CHECK(error({"--version=1"}) == "--version=1: wanted --version, without a value");
  CHECK(error({"-help"}) == "-help: wanted --help, without a value");
  CHECK(error({"b"}) == "b: is not an option; --help lists them");
  CHECK(error({"--image"}) == "--image: wants a value");
  CHECK(error({"--greedy=yes"}) == "--greedy=yes: takes no value");
  CHECK(error({"--top-k", "101"}) == "--top-k 101: wanted a number in [-1, 100]");
  CHECK(error({"--top-k", "x"}) == "--top-k x: wanted a number in [-1, 100]");
  CHECK(error({"--rate", "fast"}) == "--rate fast: wanted a number");
  CHECK(error({"--device", "gpu"}) == "--device gpu: wanted auto, cpu");
  CHECK(error({"--cache", "all"}) == "--cache: all is refused: nothing is kept");
  CHECK(testing::error_of([] { parse({}); }) == "--name: is missing");
}

TEST_CASE("Flags: one that has no effect, or is given twice, is said to be so, without its value") {
  CHECK(testing::notes_of([] {
          parse({"--name", "a", "--token", "secret"});
        }) == "note: --token has no effect: nothing is downloaded\n");
  CHECK(testing::notes_of([] {
          parse({"--name", "a", "--rate", "1", "--rate", "2"});
        }) == "note: --rate: given twice, the last one holds\n");
}

TEST_CASE("Flags: an empty path is what a script passes whose variable is not set") {
  CHECK(parse({"--name", "a", "--folder", "b/"}).folder == "b");
  CHECK(error({"--folder", ""}) == "--folder '': wanted a path; is a variable of your script not set?");
  CHECK(error({"--folder="}) == "--folder '': wanted a path; is a variable of your script not set?");
}

TEST_CASE("Flags: an item of a list is not empty either") {
  CHECK(error({"--image="}) == "--image '': wanted a value; is a variable of your script not set?");
  CHECK(error({"--image", "a", ""}) == "--image '': wanted a value; is a variable of your script not set?");
  CHECK(error({"--image", "-a"}) == "--image: wants a value; one that begins with - is written --image=VALUE");
}

TEST_CASE("Flags: a file of flags that is not there is a FileError, one that is wrong is usage") {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "flags.yaml";
  const std::span<const io::Key<Settings>> table = flags;
  const io::FlagRules rules{.config = "folder"};
  std::vector<std::string> notes;
  const auto read = [&] { io::read_flags(table, {"--folder", file.string()}, rules, notes); };
  CHECK_THROWS_AS(read(), io::FileError);
  for (const char* text : {"name: \"a\n", "- a\n", "nme: a\n", "name: a\nname: b\n", "greedy: perhaps\n"}) {
    CAPTURE(text);
    io::write_text(file, text);
    CHECK_THROWS_AS(read(), io::UsageError);
  }
  io::write_text(file, "image: [a, {b: 1}]\n");
  CHECK(io::read_flags(table, {"--folder", file.string()}, rules, notes).at("image").value == Words{"a", R"({"b":1})"});
}

TEST_CASE("Flags: words after the one without a name go to a list, if there is one for them") {
  std::vector<std::string> notes;
  const std::span<const io::Key<Settings>> table = flags;
  io::FlagRules rules{.positional = "name", .rest = "image"};
  const auto given = io::read_flags(table, {"a", "b", "--greedy", "c"}, rules, notes);
  CHECK(given.at("name").value == "a");
  CHECK(given.at("image").value == Words{"b", "c"});
  rules.rest = "";
  CHECK(testing::contains(testing::error_of([&] {
                            io::read_flags(table, {"a", "b"}, rules, notes);
                          }),
                          "b: an argument too many; the name is a"));
}

TEST_CASE("Flags: --help shows a flag, what it is and its default") {
  CHECK(testing::contains(io::help_lines<Settings>(flags, "--"),
                          "  --rate                of a member of a member; default 0.5\n"));
}

TEST_CASE("Programs: 2 for usage, 1 for failure, 0 or the program's own status else") {
  CHECK(status_of({"--version"}) == 0);
  CHECK(status_of({"--help"}) == 0);
  CHECK(status_of({"-h"}) == 0);
  CHECK(status_of({"--name", "a", "--nonsense", "-h"}) == 0);
  for (const Words& unread :
       {Words{"--help", "x"}, {"-h", "x"}, {"--version", "x"}, {"x", "--version"}, {"--help", "--version"}})
    CHECK(status_of(unread) == 2);
  CHECK(status_of({}) == 2);
  CHECK(status_of({"--nonsense"}) == 2);
  CHECK(status_of({"--name"}) == 2);
  CHECK(status_of({"--name", "a"}) == 0);
  CHECK(status_of({"--name", "a"}, 130) == 130);
  CHECK(status_of({"--name", "a", "--greedy"}) == 1);
  CHECK(status_of({"--name", "unusable"}) == 2);  // found out late, and still the words are wrong
}
