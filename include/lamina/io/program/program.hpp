#pragma once
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/core/machine/environment.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/log.hpp>
#include <lamina/io/program/interrupt.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/io/program/version.hpp>

namespace lamina::io {

/// What a program says about itself.
struct ProgramText {
  std::string_view name;   ///< "lamina-merge"
  std::string_view usage;  ///< one line: "CONFIG.yaml [key=value ...]"
  std::string help;        ///< of --help, below the usage
};

namespace detail {

/// The status of a program that has written its results; 1 if they did not reach stdout, on a full disk, say.
inline int written(std::string_view program, int status) {
  errno = 0;
  if (std::cout.flush()) return status;
  log_error(program, ": cannot write to stdout", errno ? cat(": ", std::strerror(errno)) : "");
  return status == 0 ? 1 : status;
}

/// The words of an error; of the file system's the paths and the system's reason alone.
inline std::string text_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return "not enough memory";
  const auto* of_files = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (!of_files) return error.what();
  const std::string second = of_files->path2().string();
  return cat(of_files->path1().string(), second.empty() ? "" : cat(" to ", second), ": ", of_files->code().message());
}

/// The words that every program answers itself: "--version" and "--help", or "" if the command line asks for neither.
/// UsageError for a word next to them that nobody would read.
inline std::string_view asked_of_program(std::span<const std::string> words) {
  const auto at = std::find_if(words.begin(), words.end(), [](const std::string& word) {
    return word == "--version" || word == "--help" || word == "-h";
  });
  if (at == words.end()) return "";
  if (*at == "--version" && words.size() > 1)
    usage("--version: is answered alone: leave out ", words[at == words.begin() ? 1 : 0]);
  if (*at != "--version" && at + 1 != words.end()) usage(*at, ": comes last: leave out ", at[1]);
  return *at == "--version" ? "--version" : "--help";
}

/// Numbers 0 to 2 that a parent has closed: else the next files and connections get them, and lines of the log.
inline void open_standard_files() {
  for (int fd = 0; fd <= 2; ++fd)
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) ::open("/dev/null", O_RDWR);
}

}  // namespace detail

/// main() of every program. read(words) makes a request of the command line, without the program's name; run(request)
/// does the work and returns the exit status. Else it is
///
///     2     and the usage is shown: an Error out of read, a UsageError out of either. Other words are wanted
///     1     for any other exception, a FileError out of read among them: the words are right, the world is not
///     130   for Interrupted
///
/// --help (-h) as the last word and --version as the only one are answered here, and refused in other places. What was
/// written to stdout and did not get there is an error.
template <class Read, class Run>
int run_program(const ProgramText& text, int argc, char** argv, Read read, Run run) {
  detail::open_standard_files();
  name_log_lines(text.name);
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto report = [&](const std::exception& e) {
    std::cout << std::flush;
    log_error(text.name, ": ", detail::text_of(e));
  };
  const auto show_usage = [&](const std::exception& e) {
    log_error("usage: ", text.name, " ", text.usage, " (--help says more)");
    report(e);
    return 2;
  };
  try {
    if (const auto asked = detail::asked_of_program(words); !asked.empty()) {
      if (asked == "--version")
        std::cout << version << "\n";
      else
        std::cout << "usage: " << text.name << " " << text.usage << "\n\n" << text.help;
      return detail::written(text.name, 0);
    }
    std::optional<decltype(read(words))> request;
    try {
      log_with_spdlog();
      check_environment();
      request.emplace(read(words));
    } catch (const FileError&) {
      throw;
    } catch (const Error& e) {
      return show_usage(e);
    }
    return detail::written(text.name, run(*request));
  } catch (const UsageError& e) {
    return show_usage(e);
  } catch (const Interrupted& e) {
    report(e);
    return 130;
  } catch (const std::exception& e) {
    report(e);
    return 1;
  }
}

}  // namespace lamina::io
