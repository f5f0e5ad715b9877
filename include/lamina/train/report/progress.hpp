#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>

#include <lamina/io/program/progress_bar.hpp>
#include <lamina/io/visible.hpp>
#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// " 42%|████▏     | 171/411 [01:23<01:57,  2.05it/s, loss=1.493]": percent, steps, time gone, time left, rate, loss.
inline std::string bar_text(const Progress& at, double loss, int width = 10) {
  const double share =
      at.total_steps > 0 ? std::min(1.0, static_cast<double>(at.step) / static_cast<double>(at.total_steps)) : 1;
  const double seconds = at.seconds_per_step();
  const std::string rate = !(seconds > 0) ? "?s/it"
                           : seconds < 1  ? fmt::format("{:.2f}it/s", 1 / seconds)
                                          : fmt::format("{:.2f}s/it", seconds);
  const std::string loss_text = std::isfinite(loss) ? fmt::format(", loss={:.4g}", loss) : "";
  return cat(io::bar_of(share, width), " ", at.step, "/", at.total_steps, " [", io::bar_clock(at.elapsed_s), "<",
             seconds > 0 ? io::bar_clock(at.remaining_s()) : "?", ", ", rate, loss_text, "]");
}

/// Where a run reports: lines for log events; between them a bar that redraws itself on a terminal, and elsewhere one
/// plain line every half minute, so that a log file stays readable.
class Console {
 public:
  /// bar: draw the redrawing bar. Use for_terminal() for the usual choice.
  Console(std::ostream& out, bool bar) : out_(out), bar_(bar) {}
  static bool for_terminal() { return ::isatty(STDOUT_FILENO) != 0; }

  /// Without control characters, since notes hold the words of files.
  void line(const std::string& text) {
    clear();
    out_ << io::visible(text, "\n\t") << "\n" << std::flush;
  }
  void step(const Progress& at, double loss) {
    if (bar_) {
      if (at.step < at.total_steps && at.elapsed_s - last_s_ < 0.1) return;
      out_ << "\r" << bar_text(at, loss) << "\x1b[K" << std::flush;
      drawn_ = true;
    } else if (at.elapsed_s - last_s_ < 30) {
      return;
    } else {
      out_ << bar_text(at, loss) << "\n" << std::flush;
    }
    last_s_ = at.elapsed_s;
  }
  /// A log event: the values, after the place in the run if no bar shows it.
  void event(const OrderedJson& logged, const Progress& at) {
    last_s_ = at.elapsed_s;
    line(bar_ ? console_line(logged)
              : cat("[", at.step, "/", at.total_steps, " ", clock_text(at.elapsed_s), "<", clock_text(at.remaining_s()),
                    "] ", console_line(logged)));
  }
  /// Ends a bar's line.
  void finish() {
    if (drawn_) out_ << "\n" << std::flush;
    drawn_ = false;
  }
  std::ostream& stream() {
    finish();
    return out_;
  }

 private:
  void clear() {
    if (drawn_) out_ << "\r\x1b[K";
    drawn_ = false;
  }

  std::ostream& out_;
  bool bar_, drawn_ = false;
  double last_s_ = 0;
};

}  // namespace lamina::train
