#pragma once
#include <atomic>
#include <iostream>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>

/// Lines for the person who runs a program, apart from results: what a run found, what has no effect, what went wrong
/// without ending it. They pass through one sink, which a program may replace; see io/log.hpp.
namespace lamina {

enum class LogLevel { info, warning, error };

/// Receives a line without its end, from any thread.
using LogSink = void (*)(LogLevel, const std::string& line);

namespace detail {
inline void log_to_clog(LogLevel, const std::string& line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::clog << line << std::endl;
}
inline std::atomic<LogSink> log_sink = log_to_clog;
inline std::string& log_name() {
  static std::string name = "lamina";
  return name;
}
}  // namespace detail

/// Without a call of this, lines go to std::clog.
inline void set_log_sink(LogSink sink) { detail::log_sink = sink; }

/// Names what lines that begin with log_name() come from: a program calls it before it starts a thread.
inline void name_log_lines(std::string_view program) { detail::log_name() = program; }
/// The program's name; "lamina" unless it was given.
inline const std::string& log_name() { return detail::log_name(); }

template <class... Parts>
void log_info(const Parts&... parts) {
  detail::log_sink.load()(LogLevel::info, cat(parts...));
}
/// Something that the user should know and that stops nothing.
template <class... Parts>
void log_warning(const Parts&... parts) {
  detail::log_sink.load()(LogLevel::warning, cat(parts...));
}
template <class... Parts>
void log_error(const Parts&... parts) {
  detail::log_sink.load()(LogLevel::error, cat(parts...));
}

/// A warning that begins with "note: "; each text once in a process.
inline void note(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) log_warning("note: ", text);
}

}  // namespace lamina
