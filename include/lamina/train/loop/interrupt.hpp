#pragma once
#include <csignal>

namespace lamina::train {

/// While it lives, the first Ctrl-C (or SIGTERM) only sets a flag, so that the step ends and a checkpoint is saved; the
/// second one ends the process as usual. One at a time.
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
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const { return flag() != 0; }

 private:
  static volatile std::sig_atomic_t& flag() {
    static volatile std::sig_atomic_t value = 0;
    return value;
  }
  struct sigaction before_int_ {
  }, before_term_{};
};

}  // namespace lamina::train
