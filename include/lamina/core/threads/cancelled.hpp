#pragma once
#include <exception>
#include <stop_token>

namespace lamina {

/// Thrown by long work that a caller's std::stop_token ended. Not an Error: nothing is wrong, and nobody waits for the
/// result.
struct Cancelled : std::exception {
  const char* what() const noexcept override { return "cancelled"; }
};

inline void throw_if_stopped(const std::stop_token& cancelled) {
  if (cancelled.stop_requested()) throw Cancelled();
}

}  // namespace lamina
