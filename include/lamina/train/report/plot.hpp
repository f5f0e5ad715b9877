#pragma once
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/train/report/log.hpp>
#if defined(LAMINA_HAS_CAIRO)
#include <cairo.h>
#endif

namespace lamina::train {

/// The values of one key of log_history: x = step. Values that no axis can hold (not finite, beyond 1e300) are left
/// out.
struct Curve {
  std::vector<double> steps, values;
};

inline Curve curve_of(const OrderedJson& log_history, const std::string& key) {
  Curve curve;
  for (const auto& entry : log_history)
    if (entry.contains(key) && entry.contains("step") && entry[key].is_number() &&
        std::abs(entry[key].get<double>()) <= 1e300) {
      curve.steps.push_back(entry["step"].get<double>());
      curve.values.push_back(entry[key].get<double>());
    }
  return curve;
}

/// LLaMA-Factory's smoothing of n values, stronger the more there are:
///
///     w = 1.8 * (1 / (1 + exp(-0.05 n)) - 0.5);   s_0 = x_0;   s_i = w s_{i-1} + (1 - w) x_i
inline std::vector<double> smoothed(const std::vector<double>& values) {
  const double w = 1.8 * (1 / (1 + std::exp(-0.05 * static_cast<double>(values.size()))) - 0.5);
  std::vector<double> out;
  for (double value : values) out.push_back(out.empty() ? value : w * out.back() + (1 - w) * value);
  return out;
}

/// The ends of an axis for values from a to b: 5 % of room on both sides. Values that agree in four digits are shown
/// as equal ones, with 5 % of their size as room: narrower, the labels could not differ, nor the ticks in the end.
inline std::pair<double, double> axis_ends(double a, double b) {
  const double size = std::max(std::abs(a), std::abs(b));
  const double room = b - a > 1e-4 * size ? 0.05 * (b - a) : size > 0 ? 0.05 * size : 0.05;
  return {a - room, b + room};
}

/// Round numbers for an axis from low to high: multiples of 1, 2, 2.5 or 5 times a power of ten, at most `most` + 1 of
/// them. None for an axis so narrow that they could not be distinguished.
inline std::vector<double> axis_ticks(double low, double high, int most = 9) {
  const double power = std::pow(10, std::floor(std::log10((high - low) / most)));
  double gap = 10 * power;
  for (double multiple : {1.0, 2.0, 2.5, 5.0})
    if ((high - low) / (multiple * power) <= most) {
      gap = multiple * power;
      break;
    }
  std::vector<double> ticks;
  const double first = std::ceil(low / gap - 1e-9);
  if (!(std::abs(first) < 1e15)) return ticks;  // NaN too: an axis without length
  for (int i = 0; i <= most && (first + i) * gap <= high + 1e-9 * gap; ++i) ticks.push_back((first + i) * gap);
  return ticks;
}

#if defined(LAMINA_HAS_CAIRO)
namespace detail {

/// The image's geometry: 640x480 with the margins that matplotlib leaves.
class Figure {
 public:
  static constexpr double width = 640, height = 480, left = 80, right = 576, top = 57.6, bottom = 427.2;

  explicit Figure(const Curve& curve)
      : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, 640, 480)), cr_(cairo_create(surface_)) {
    const auto [x0, x1] = std::minmax_element(curve.steps.begin(), curve.steps.end());
    const auto [y0, y1] = std::minmax_element(curve.values.begin(), curve.values.end());
    std::tie(x_low_, x_high_) = axis_ends(*x0, *x1);
    std::tie(y_low_, y_high_) = axis_ends(*y0, *y1);
    cairo_set_source_rgb(cr_, 1, 1, 1);
    cairo_paint(cr_);
    cairo_select_font_face(cr_, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  }
  ~Figure() {
    cairo_destroy(cr_);
    cairo_surface_destroy(surface_);
  }
  Figure(const Figure&) = delete;
  Figure& operator=(const Figure&) = delete;

  void line(const std::vector<double>& xs, const std::vector<double>& ys, double alpha) {
    cairo_set_source_rgba(cr_, 0x1f / 255.0, 0x77 / 255.0, 0xb4 / 255.0, alpha);
    cairo_set_line_width(cr_, 2.08);
    cairo_set_line_join(cr_, CAIRO_LINE_JOIN_ROUND);
    for (std::size_t i = 0; i < xs.size(); ++i) cairo_line_to(cr_, x(xs[i]), y(ys[i]));
    if (xs.size() == 1) cairo_arc(cr_, x(xs[0]), y(ys[0]), 2, 0, 6.2832);  // a lone value is a dot
    cairo_stroke(cr_);
  }

  void axes(const std::string& x_label, const std::string& y_label, const std::string& title) {
    cairo_set_source_rgb(cr_, 0, 0, 0);
    cairo_set_line_width(cr_, 1.1);
    cairo_rectangle(cr_, left, top, right - left, bottom - top);
    cairo_stroke(cr_);
    for (double tick : axis_ticks(x_low_, x_high_)) {
      stroke(x(tick), bottom, x(tick), bottom + 5);
      text(number(tick), x(tick), bottom + 19, 13, 0.5);
    }
    for (double tick : axis_ticks(y_low_, y_high_)) {
      stroke(left - 5, y(tick), left, y(tick));
      text(number(tick), left - 9, y(tick) + 5, 13, 1);
    }
    text(x_label, (left + right) / 2, height - 13, 14, 0.5);
    text(title, width / 2, top - 10, 16, 0.5, width - 16);
    cairo_save(cr_);
    cairo_translate(cr_, 20, (top + bottom) / 2);
    cairo_rotate(cr_, -1.5707963267948966);
    text(y_label, 0, 0, 14, 0.5);
    cairo_restore(cr_);
  }

  /// Upper right: a falling curve leaves it free.
  void legend() {
    const double x0 = right - 128, y0 = top + 8;
    cairo_set_source_rgba(cr_, 1, 1, 1, 0.8);
    cairo_rectangle(cr_, x0, y0, 120, 48);
    cairo_fill_preserve(cr_);
    cairo_set_source_rgb(cr_, 0.8, 0.8, 0.8);
    cairo_stroke(cr_);
    for (const auto& [name, alpha, row] : {std::tuple{"original", 0.4, 0}, std::tuple{"smoothed", 1.0, 1}}) {
      cairo_set_source_rgba(cr_, 0x1f / 255.0, 0x77 / 255.0, 0xb4 / 255.0, alpha);
      cairo_set_line_width(cr_, 2.08);
      stroke(x0 + 8, y0 + 14 + 20 * row, x0 + 36, y0 + 14 + 20 * row);
      cairo_set_source_rgb(cr_, 0, 0, 0);
      text(name, x0 + 44, y0 + 19 + 20 * row, 13, 0);
    }
  }

  void save(const std::filesystem::path& path) {
    std::string png;
    const auto append = [](void* to, const unsigned char* bytes, unsigned n) {
      static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(bytes), n);
      return CAIRO_STATUS_SUCCESS;
    };
    cairo_surface_flush(surface_);
    if (const auto status = cairo_surface_write_to_png_stream(surface_, append, &png); status != CAIRO_STATUS_SUCCESS)
      fail(path.string(), ": the plot cannot be drawn: ", cairo_status_to_string(status));
    io::write_text(path, png);
  }

 private:
  double x(double v) const { return left + (v - x_low_) / (x_high_ - x_low_) * (right - left); }
  double y(double v) const { return bottom - (v - y_low_) / (y_high_ - y_low_) * (bottom - top); }
  void stroke(double x0, double y0, double x1, double y1) {
    cairo_move_to(cr_, x0, y0);
    cairo_line_to(cr_, x1, y1);
    cairo_stroke(cr_);
  }

  /// anchor: 0 text starts at x, 0.5 is centred there, 1 ends there. Text wider than `fit` is drawn smaller.
  void text(const std::string& words, double at_x, double at_y, double size, double anchor, double fit = 1e9) {
    cairo_text_extents_t extents;
    cairo_set_font_size(cr_, size);
    cairo_text_extents(cr_, words.c_str(), &extents);
    if (extents.x_advance > fit) cairo_set_font_size(cr_, size * fit / extents.x_advance);
    cairo_text_extents(cr_, words.c_str(), &extents);
    cairo_move_to(cr_, at_x - anchor * extents.x_advance, at_y);
    cairo_show_text(cr_, words.c_str());
  }

  static std::string number(double v) { return fmt::format("{:.6g}", v == 0 ? 0.0 : v); }  // without the sign of -0

  cairo_surface_t* surface_;
  cairo_t* cr_;
  double x_low_ = 0, x_high_ = 1, y_low_ = 0, y_high_ = 1;
};

}  // namespace detail
#endif

/// Draws training_<key>.png into output_dir: the logged values and their smoothed course over the steps, 640x480.
/// Returns the line that tells what became of it.
inline std::string plot_curve(const std::filesystem::path& output_dir, const OrderedJson& log_history,
                              const std::string& key) {
  const Curve curve = curve_of(log_history, key);
  if (curve.values.empty()) return cat("No metric ", key, " to plot.");
#if defined(LAMINA_HAS_CAIRO)
  std::string name = "training_" + key + ".png";
  std::replace(name.begin(), name.end(), '/', '_');
  const std::filesystem::path path = output_dir / name;
  detail::Figure figure(curve);
  figure.line(curve.steps, curve.values, 0.4);
  figure.line(curve.steps, smoothed(curve.values), 1);
  figure.axes("step", key, cat("training ", key, " of ", output_dir.string()));
  figure.legend();
  figure.save(path);
  return cat("Figure saved at: ", path.string());
#else
  return cat("plot_loss: no plot of ", key, " is drawn in ", output_dir.string(), ": lamina was built without cairo");
#endif
}

}  // namespace lamina::train
