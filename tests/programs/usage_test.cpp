#include <lamina/io/version.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"

using lamina::testing::run_program;

TEST_CASE("Programs: each knows its version, its help, and 2 for a command line that it does not understand") {
  for (const char* program : {"lamina-train", "lamina-merge", "lamina-serve", "lamina-chat", "lamina-init",
                              "lamina-download", "lamina-draw-tables", "lamina-draw-images"}) {
    CAPTURE(program);
    const auto version = run_program(program, {"--version"});
    CHECK(version.status == 0);
    CHECK(version.output == std::string(lamina::version) + "\n");
    const auto help = run_program(program, {"--help"});
    CHECK(help.status == 0);
    CHECK(help.output.find("usage: " + std::string(program)) == 0);
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{}, {"--no_such_flag", "x"}, {"no_such_word"}, {"no_such_file.yaml"}}) {
      if (words.size() == 1 && std::string_view(program) == "lamina-serve") continue;  // the folder of a model
      const auto wrong = run_program(program, words);
      CHECK(wrong.status == 2);
      CHECK(wrong.output.find("usage: " + std::string(program)) == 0);
    }
  }
}

TEST_CASE("Programs: 1 for a model that is not there") {
  CHECK(run_program("lamina-merge", {"model_name_or_path=/nonexistent", "export_dir=/nonexistent/out"}).status == 1);
  CHECK(run_program("lamina-chat", {"--model", "/nonexistent", "--prompt", "x"}).status == 1);
  CHECK(run_program("lamina-serve", {"/nonexistent"}).status == 1);
  const auto init = run_program("lamina-init", {"--model", "/nonexistent", "--out", "/nonexistent/out"});
  CHECK(init.status == 1);
  CHECK(init.output == "lamina-init: /nonexistent: no such folder, wanted one that holds config.json\n");
}

TEST_CASE("Programs: an error of the file system is a path and a reason") {
  const auto init =
      run_program("lamina-init", {"--model", LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny", "--out", "/dev/null/out"});
  CHECK(init.status == 1);
  CHECK(init.output == "lamina-init: /dev/null/out: Not a directory\n");
}
