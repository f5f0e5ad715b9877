#include <lamina/io/log.hpp>

#include <cstdlib>
#include <string>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;

namespace {

/// What reaches stderr of one line of each level if LAMINA_LOG_LEVEL is `level`.
std::string written(const char* level) {
  ::setenv("LAMINA_LOG_LEVEL", level, 1);
  const std::string text = testing::notes_of([] {
    io::log_with_spdlog();
    log_info("{} 100%");
    log_warning("w");
    log_error("e");
  });
  ::unsetenv("LAMINA_LOG_LEVEL");
  io::log_with_spdlog();
  return text;
}

}  // namespace

TEST_CASE("Log: programs write lines as they are, from the level that LAMINA_LOG_LEVEL names") {
  CHECK(written("") == "{} 100%\nw\ne\n");
  CHECK(written("info") == "{} 100%\nw\ne\n");
  CHECK(written("warning") == "w\ne\n");
  CHECK(written("error") == "e\n");
}

TEST_CASE("Log: programs write control characters out, but for the ends of lines and tabs") {
  const std::string text = testing::notes_of([] {
    io::log_with_spdlog();
    log_error("a server: \x1b[31m\x07 says\n\tno");
  });
  CHECK(text == "a server: \\x1b[31m\\x07 says\n\tno\n");
}

TEST_CASE("Log: another level is refused with what it may be") {
  ::setenv("LAMINA_LOG_LEVEL", "loud", 1);
  CHECK(testing::error_of([] { io::log_with_spdlog(); }) ==
        "LAMINA_LOG_LEVEL (environment): is loud, wanted info, warning or error");
  ::unsetenv("LAMINA_LOG_LEVEL");
}
