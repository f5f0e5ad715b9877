#pragma once
#include <csignal>

#include <lamina/core/error.hpp>

namespace lamina::io {

/// The user has asked to stop. run_program() ends with status 130, as after a SIGINT.
struct Interrupted : Error {
  using Error::Error;
};

/// While it lives, the first Ctrl-C (or SIGTERM) only sets a flag, so that what is under way ends as it should: a step
/// with a checkpoint, a download with what has come. The second one ends the process as usual. One at a time.
class InterruptGuard {
 public:
  InterruptGuard() {
    flag() = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { flag() = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // the second signal meets the default action
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, &before_int_);
    ::sigaction(SIGTERM, &action, &before_term_);
  }
  ~InterruptGuard() {
    ::sigaction(SIGINT, &before_int_, nullptr);
    ::sigaction(SIGTERM, &before_term_, nullptr);
    flag() = 0;
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// Of the guard that lives; false if none does.
  static bool requested() { return flag() != 0; }

 private:
  static volatile std::sig_atomic_t& flag() {
    static volatile std::sig_atomic_t value = 0;
    return value;
  }
  struct sigaction before_int_ {
  }, before_term_{};
};

/// Between the parts of a long work.
inline void stop_if_interrupted() {
  if (InterruptGuard::requested()) throw Interrupted("interrupted");
}

}  // namespace lamina::io
