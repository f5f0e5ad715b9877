#pragma once
#include <lamina/core/log.hpp>

namespace lamina::parallel {

namespace detail {
inline int logging_rank = 0;
inline LogSink sink_of_all = nullptr;
}  // namespace detail

/// From here on log lines of ranks other than 0 begin with the rank and are errors only, since other lines are the same
/// on every rank.
inline void log_as_rank(int rank) {
  if (rank == 0) return;
  detail::logging_rank = rank;
  detail::sink_of_all = lamina::detail::log_sink.load();
  set_log_sink([](LogLevel level, const std::string& line) {
    if (level == LogLevel::error) detail::sink_of_all(level, cat("rank ", detail::logging_rank, ": ", line));
  });
}

}  // namespace lamina::parallel
