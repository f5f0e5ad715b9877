#include <lamina/core/log.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/notes.hpp"

using namespace lamina;

namespace {
std::vector<std::pair<LogLevel, std::string>> lines;
}

TEST_CASE("Log: each line reaches the one sink, with its level") {
  lines.clear();
  set_log_sink([](LogLevel level, const std::string& line) { lines.emplace_back(level, line); });
  log_info("step ", 3);
  log_warning("slow");
  log_error("broken: ", 'x');
  note("log_test: once");
  note("log_test: once");
  set_log_sink(detail::log_to_clog);
  CHECK(lines == std::vector<std::pair<LogLevel, std::string>>{{LogLevel::info, "step 3"},
                                                               {LogLevel::warning, "slow"},
                                                               {LogLevel::error, "broken: x"},
                                                               {LogLevel::warning, "note: log_test: once"}});
}

TEST_CASE("Log: without a sink of the program lines go to stderr's stream, whole") {
  CHECK(testing::notes_of([] { log_warning("a ", 1); }) == "a 1\n");
}
