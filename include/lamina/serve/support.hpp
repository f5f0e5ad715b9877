#pragma once
#include <algorithm>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>

namespace lamina::serve {

/// What becomes of something that vLLM has: an option of its command line, a field of a request.
enum class Support {
  work,    ///< it does here what it does there, or what its note says
  ignore,  ///< accepted; no answer depends on it, for the reason in its note
  refuse   ///< an error that gives the reason in its note, unless the value asks for nothing
};

/// The same in words, for --help. `harmless`: values, separated by |, that are not refused.
inline std::string support_text(Support does, std::string_view note, std::string_view harmless) {
  if (does == Support::work) return std::string(note);
  if (does == Support::ignore) return cat("accepted, without effect: ", note);
  std::string except(harmless);
  for (std::size_t at = 0; (at = except.find('|', at)) != std::string::npos; at += 4) except.replace(at, 1, " or ");
  return cat("refused", except.empty() ? "" : ", except ", except, ": ", note);
}

/// Is the value one of the harmless ones?
inline bool is_harmless(std::string_view value, std::string_view harmless) {
  return cat("|", harmless, "|").find(cat("|", value, "|")) != std::string::npos;
}

/// One line of --help; empty if it does not hold `word`.
inline std::string help_line(std::string name, const std::string& text, std::string_view word) {
  name.resize(std::max<std::size_t>(name.size() + 1, 38), ' ');
  const std::string line = "  " + name + text;
  return line.find(word) == std::string::npos ? "" : line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

}  // namespace lamina::serve
