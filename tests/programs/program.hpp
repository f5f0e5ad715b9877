#pragma once
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "support/temporary_folder.hpp"

/// Runs the built programs as a user does.
namespace lamina::testing {

struct Program {
  int status = -1;
  std::string output;  ///< both streams
};

inline std::string quoted(const std::string& word) {
  std::string out = "'";
  for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Runs a command of the shell.
inline Program run_command(const std::string& command) {
  Program result;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return result;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.output.append(buffer, n);
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

inline Program run_program(const std::string& name, const std::vector<std::string>& arguments) {
  std::string command = quoted(std::string(LAMINA_BIN_DIR) + "/" + name);
  for (const std::string& a : arguments) command.append(" ").append(quoted(a));
  return run_command(command);
}

/// data/<name> with weights by rule.
inline Program make_model(const std::string& name, const std::filesystem::path& out) {
  return run_program("lamina-init",
                     {"--model", std::string(LAMINA_SOURCE_DIR) + "/data/" + name, "--out", out.string()});
}

}  // namespace lamina::testing
