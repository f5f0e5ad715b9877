#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/run.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/testing/check_tables.hpp>
#include <lamina/testing/gradient_report.hpp>

#if defined(__unix__)
#include <unistd.h>
#endif

/// Holds any module, a user's layer or a whole composition, to the contract of core/run.hpp. The kernels that it
/// launches on Cpu must be included by the caller.
namespace lamina::testing {

namespace detail {

/// Runs one module on random numbers, forward and backward, and takes it apart.
template <class Layer>
class GradientChecker {
 public:
  using Training = Mode<float, true, true>;
  static_assert(Layer::In::rank == 2 && Layer::Out::rank == 2,
                "check_gradients: the module must map rows of numbers to rows of numbers");

  explicit GradientChecker(const GradientOptions& options)
      : options_(options),
        rows_(options.rows * Layer::traits.row_divisor),
        tables_(rows_, options.seed),
        weights_([&](const TensorSpec&) {
          return typename Weights<Layer, float>::Choice{DType::F32, options.rank, true};
        }),
        scratch_(options.scratch_bytes),
        x_(grid_values("x", options.seed, elements(rows_, Layer::In::width), 1)),
        dy_(grid_values("dy", options.seed, elements(out_rows(), Layer::Out::width), 1)) {
    Arena counts;
    auto saved = std::make_unique<Saved>();
    allocate_saved<Layer, Training>(*saved, counts, rows_);
    kept_ = Arena(counts.peak_bytes());
    fill_weights();
    report_.tolerance = options.tolerance;
  }

  GradientRun run_once() { return pass(true, 1); }
  GradientReport check() {
    const OneThread here;  // thousands of runs that are too short to be shared out
    const GradientRun first = pass(true, 1);
    expect(first == pass(true, 1), "two runs differ in some bit");
    expect(forward() == first.y, "forward gives other values in inference than in training");
    check_sums(first);
    compare("dx", first.dx, x_.data());
    for (const TensorSlot& slot : weights_.slots()) {
      if (!slot.learns || slot.spec.count() == 0) continue;
      const float* g = first.gradients.data() + slot.offset;
      compare(slot.name(), {g, g + slot.spec.count()}, weights_.values(slot).data());
    }
    return report_;
  }

 private:
  using Saved = typename Layer::template Saved<Training>;
  struct OneThread {
    const int before = lamina::detail::own_thread_count();
    OneThread() { use_one_thread(); }
    ~OneThread() { use_threads(before); }
  };
  int out_rows() const { return lamina::out_rows<Layer>(rows_, tables_.sequences()); }
  static std::size_t elements(int rows, int width) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(width);
  }
  void expect(bool holds, const char* promise) {
    if (!holds) report_.broken.emplace_back(promise);
  }

  void fill_weights() {
    weights_.allocate(true);
    for (std::size_t i = 0; i < weights_.slots().size(); ++i) {
      const TensorSlot& slot = weights_.slots()[i];
      const bool matrix = slot.spec.rank > 1;
      const float scale =
          matrix ? std::exp2(std::round(0.5f * std::log2(3.0f / static_cast<float>(std::max(slot.spec.cols(), 1)))))
                 : 0.5f;
      std::vector<float> values =
          grid_values(slot.name(), options_.seed, static_cast<std::size_t>(slot.spec.count()), scale);
      if (slot.spec.init == TensorSpec::Init::ones)
        for (float& v : values) v += 1;
      if (!values.empty()) std::memcpy(weights_.data(slot), values.data(), values.size() * sizeof(float));
      Parameter& p = weights_.parameters()[i];
      p.dropout = options_.dropout;
      if (p.scale == 0) p.scale = 2;  // alpha / rank, left open by the type
    }
  }
  Context<float> context() const { return tables_.context(options_.dropout > 0 ? &options_.seed : nullptr); }
  /// Room for x, y and dx, aligned as in any arena: of rows that are not, Eigen adds up the values in another order.
  /// Before, between and after them nobody may write.
  Arena rows_block() const { return Arena((2 * x_.size() + dy_.size()) * sizeof(float) + 16 * Arena::alignment); }
  static Matrix<float> matrix_of(Arena& rows, const std::vector<float>& values, int width) {
    guard(rows);
    float* const to = rows.take<float>(values.size());
    std::fill(std::copy(values.begin(), values.end(), to), to + whole(values.size()), guard_value);
    guard(rows);
    return {to, static_cast<int>(values.size()) / width, width};
  }
  static constexpr std::size_t guard_floats = Arena::alignment / sizeof(float);
  static void guard(Arena& rows) { std::fill_n(rows.take<float>(guard_floats), guard_floats, guard_value); }
  static constexpr std::size_t whole(std::size_t n) { return (n + guard_floats - 1) / guard_floats * guard_floats; }
  void expect_guards(const Matrix<float>& rows, const char* promise) {
    const auto untouched = [](const float* begin, const float* end) {
      return std::all_of(begin, end, [](float v) { return v == guard_value; });
    };
    const std::size_t n = elements(rows.rows, rows.cols);
    if (rows.data && !(untouched(rows.data - guard_floats, rows.data) &&
                       untouched(rows.data + n, rows.data + whole(n) + guard_floats)))
      expect(std::find(report_.broken.begin(), report_.broken.end(), promise) != report_.broken.end(), promise);
  }
  static constexpr float guard_value = 12345.678f;
  static std::vector<float> values_of(const Matrix<float>& rows) {
    return {rows.data, rows.data + elements(rows.rows, rows.cols)};
  }
  static void poison(const Matrix<float>& rows) {
    std::fill_n(rows.data, elements(rows.rows, rows.cols), std::numeric_limits<float>::quiet_NaN());
  }
  static void poison(std::vector<float>& values) {
    std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
  }
  static void poison(Arena& arena) {
    arena.release_to(0);
    const std::size_t n = arena.capacity_bytes() / sizeof(float);
    std::fill_n(arena.take<float>(n), n, std::numeric_limits<float>::quiet_NaN());
    arena.release_to(0);
  }

  /// Forward and `backwards` times backward, in memory full of NaN; values that the module does not ask to keep are
  /// gone between.
  GradientRun pass(bool with_dx, int backwards) {
    GradientRun result{std::vector<float>(dy_.size()), std::vector<float>(with_dx ? x_.size() : 0), {}};
    poison(kept_), poison(scratch_), poison(result.y), poison(result.dx);
    std::fill(weights_.gradients().begin(), weights_.gradients().end(), 0.0f);
    auto saved = std::make_unique<Saved>();
    allocate_saved<Layer, Training>(*saved, kept_, rows_);
    Context<float> context = this->context();
    const Run<Cpu, Training> run{{}, &scratch_, &context};
    Arena rows = rows_block();
    const Matrix<float> x = matrix_of(rows, x_, Layer::In::width), y = matrix_of(rows, result.y, Layer::Out::width),
                        dx = with_dx ? matrix_of(rows, result.dx, Layer::In::width) : Matrix<float>{};
    Layer::forward(run, weights_.parameters(), *saved, Matrix<const float>(x), y);
    result.y = values_of(y);
    if (!stays<Layer, Training>.input) poison(x);
    if (!stays<Layer, Training>.output) poison(y);
    poison(scratch_);
    for (int i = 0; i < backwards; ++i)
      Layer::backward(run, weights_.parameters(), *saved,
                      Matrix<const float>(dy_.data(), out_rows(), Layer::Out::width), dx);
    expect_guards(x, "something is written before or after x");
    expect_guards(y, "something is written before or after y");
    expect_guards(dx, "something is written before or after dx");
    if (dx) result.dx = values_of(dx);
    result.gradients.assign(weights_.gradients().begin(), weights_.gradients().end());
    return result;
  }
  std::vector<float> forward() {
    using Inference = typename Training::inference;
    Arena rows = rows_block();
    const Matrix<float> x = matrix_of(rows, x_, Layer::In::width),
                        y = matrix_of(rows, std::vector<float>(dy_.size()), Layer::Out::width);
    typename Layer::template Saved<Inference> nothing{};
    Context<float> context = this->context();
    Layer::forward(Run<Cpu, Inference>{{}, &scratch_, &context}, weights_.parameters(), nothing, Matrix<const float>(x),
                   y);
    return values_of(y);
  }

  /// Parameter gradients are added to and need no dx; dx is overwritten.
  void check_sums(const GradientRun& first) {
    expect(pass(false, 1).gradients == first.gradients, "parameter gradients change when dx is not wanted");
    const GradientRun twice = pass(true, 2);
    expect(twice.dx == first.dx, "dx is not overwritten, or backward changes what forward saved");
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < first.gradients.size(); ++i) {
      largest = std::max(largest, std::abs(2.0 * static_cast<double>(first.gradients[i])));
      difference = std::max(difference, std::abs(static_cast<double>(twice.gradients[i]) -
                                                 2.0 * static_cast<double>(first.gradients[i])));
    }
    expect(difference <= 1e-5 * largest,
           "parameter gradients are not added to what is there");  // sums in another order
  }

  double projection() {
    const std::vector<float> y = forward();
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(dy_[i]) * static_cast<double>(y[i]);
    return sum;
  }
  /// at: the values of which `gradient` is the gradient.
  void compare(const std::string& name, const std::vector<float>& gradient, float* at) {
    const std::size_t n = gradient.size(), wanted = static_cast<std::size_t>(options_.samples);
    const std::size_t count = wanted == 0 ? n : std::min(wanted, n);
    std::vector<double> gradients, slopes;
    double largest = 0, worst = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = k * n / count;
      const auto g = static_cast<double>(gradient[i]);
      double nearest = std::numeric_limits<double>::infinity(), slope = 0;
      for (const float h : {0x1p-5f, 0x1p-8f, 0x1p-12f}) {
        const double found = slope_at(at[i], h), difference = std::abs(found - g);
        if (difference < nearest || h == 0x1p-5f) nearest = difference, slope = found;
        if (difference <= options_.tolerance * std::max(largest, std::abs(found)) / 2) break;
      }
      gradients.push_back(g), slopes.push_back(slope);
      largest = std::max(largest, std::abs(slope));
      worst = std::isnan(nearest) ? std::numeric_limits<double>::infinity() : std::max(worst, nearest);
      tell(name, k, count);
    }
    const double error = worst / std::max(largest, 1e-3);
    report_.quantities.push_back({name, error, static_cast<std::int64_t>(count),
                                  error <= options_.tolerance ? "" : difference_of(gradients, slopes)});
  }
  double slope_at(float& x, float h) {
    const float original = x;
    const auto f = [&](float step) { return x = original + step, projection(); };
    const double slope = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * static_cast<double>(h));
    x = original;
    return slope;
  }
  /// On a terminal, how far a long check is.
  static void tell([[maybe_unused]] const std::string& name, [[maybe_unused]] std::size_t done,
                   [[maybe_unused]] std::size_t all) {
#if defined(__unix__)
    if (all < 1000 || done % (all / 100) != 0 || !isatty(STDERR_FILENO)) return;
    std::fprintf(stderr, "\r%-60s %3zu %%%s", name.c_str(), 100 * done / all, done + all / 100 >= all ? "\n" : "");
#endif
  }

  GradientOptions options_;
  int rows_;
  CheckTables<Layer> tables_;
  Weights<Layer, float> weights_;
  Arena scratch_, kept_;
  std::vector<float> x_, dy_;
  GradientReport report_;
};

}  // namespace detail

/// Runs Layer on random numbers in fp32 and compares dx and the gradient of every learning parameter with finite
/// differences. It also holds the layer to the protocol: memory it did not ask to keep is gone before backward, two
/// runs are bit-equal, inference returns the training values, gradients of parameters add up, dx is overwritten.
template <class Layer>
GradientReport check_gradients(const GradientOptions& options = {}) {
  return detail::GradientChecker<Layer>(options).check();
}
/// Forward and backward on the same random numbers, for comparing two types that should compute the same.
template <class Layer>
GradientRun run_gradients(const GradientOptions& options = {}) {
  return detail::GradientChecker<Layer>(options).run_once();
}

}  // namespace lamina::testing
