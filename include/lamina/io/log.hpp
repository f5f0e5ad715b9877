#pragma once
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <lamina/core/log.hpp>
#include <lamina/io/keys/setting.hpp>
#include <lamina/io/visible.hpp>

/// The sink of the programs: spdlog. Its headers are for a program's main alone, since they cost half a second.
namespace lamina::io {

namespace detail {

inline spdlog::logger& logger() {
  static spdlog::logger logger("lamina", std::make_shared<spdlog::sinks::ostream_sink_mt>(std::clog, true));
  return logger;
}
inline void log_line(LogLevel level, const std::string& line) {
  logger().log(level == LogLevel::info      ? spdlog::level::info
               : level == LogLevel::warning ? spdlog::level::warn
                                            : spdlog::level::err,
               visible(line, "\n\t"));
}

}  // namespace detail

/// Sends log lines to spdlog, which writes them to stderr as they are, but for control characters: a line may hold the
/// words of a server or of a file. The environment's LAMINA_LOG_LEVEL (info, warning or error) leaves out those below;
/// UsageError for another word.
inline void log_with_spdlog() {
  detail::logger().set_pattern("%v");
  set_log_sink(detail::log_line);
  const char* text = std::getenv("LAMINA_LOG_LEVEL");
  const std::string_view level = text ? text : "";
  if (!level.empty() && level != "info" && level != "warning" && level != "error")
    throw UsageError(cat("LAMINA_LOG_LEVEL (environment): is ", level, ", wanted info, warning or error"));
  detail::logger().set_level(level == "warning" ? spdlog::level::warn
                             : level == "error" ? spdlog::level::err
                                                : spdlog::level::info);
}

}  // namespace lamina::io
