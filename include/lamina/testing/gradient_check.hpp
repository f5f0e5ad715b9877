#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/core/run.hpp>
#include <lamina/testing/deterministic_weights.hpp>

/// Holds any module, a user's layer or a whole composition, to the contract of core/run.hpp. The kernels that it
/// launches on Cpu must be included by the caller.
namespace lamina::testing {

/// Largest difference between a gradient and its finite difference, relative to the largest gradient of that tensor.
///
/// The derivative of f(x) = sum_ij w_ij y_ij, w in [-1, 1), is (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h at
/// h = 2^-5. Inputs are on a grid of 2^-10, so x + h is exact. What remains: h^4/30 f^(5) = 3e-8 f^(5) of truncation,
/// and for each output that moves an fp32 rounding of k 2^-24 |y|, k about the root of its sums' length, times 1.5 / h:
/// 3e-6 k. A few hundred outputs with k = 10 make 5e-4; a wrong term of a derivative is seen from 1e-3 up.
inline constexpr double finite_difference_tolerance = 1e-3;

struct GradientOptions {
  int rows = 5;            ///< output rows, in two packed sequences; a layer that joins rows reads more
  int rank = 3;            ///< of adapters whose rank the type leaves open
  float dropout = 0;       ///< of adapters
  std::uint64_t seed = 1;  ///< of inputs, parameters and the projection w
  double tolerance = finite_difference_tolerance;
  std::size_t scratch_bytes = std::size_t{1} << 24;
};

/// What check_gradients found.
struct GradientReport {
  struct Quantity {
    std::string name;  ///< "dx", or a parameter's checkpoint name
    double worst_error = 0;
    std::int64_t elements = 0;
  };
  std::vector<Quantity> quantities;
  std::vector<std::string> broken;  ///< promises of core/run.hpp that do not hold, in words
  double tolerance = 0;

  /// Names of the gradients that differ from their finite differences.
  std::vector<std::string> wrong() const {
    std::vector<std::string> names;
    for (const Quantity& q : quantities)
      if (!(q.worst_error <= tolerance)) names.push_back(q.name);
    return names;
  }
  bool passed() const { return broken.empty() && wrong().empty(); }
  /// One line a quantity and one a broken promise.
  std::string text() const {
    std::string lines;
    for (const Quantity& q : quantities)
      lines += q.name + " (" + std::to_string(q.elements) + "): relative error " + std::to_string(q.worst_error) +
               (q.worst_error <= tolerance ? "\n" : "  WRONG\n");
    for (const std::string& promise : broken) lines += "broken: " + promise + "\n";
    return lines;
  }
};

/// One forward and backward of a module on the numbers of check_gradients.
struct GradientRun {
  std::vector<float> y, dx;
  std::vector<float> gradients;  ///< of all learning parameters, in the order of compose/plan/weights.hpp
  bool operator==(const GradientRun&) const = default;
};

namespace detail {

/// n values in [-scale, scale) on a grid of scale / 1024.
inline std::vector<float> grid_values(std::string_view name, std::uint64_t seed, std::size_t n, float scale) {
  std::vector<float> values(n);
  const std::uint64_t hash = splitmix64(fnv1a64(name) ^ seed);
  for (std::size_t i = 0; i < n; ++i) values[i] = std::floor(deterministic_unit(hash, i) * 2048) * 0x1p-10f * scale;
  return values;
}

/// Tables that a layer may look up: two sequences, short windows in reverse order, any rotation, any learned position.
template <class Layer>
class CheckTables {
 public:
  CheckTables(int rows, std::uint64_t seed) : rows_(rows) {
    constexpr int d = Layer::traits.row_divisor;
    sequences_ = {0, rows / d / 2 * d, rows};
    if (sequences_[1] == 0) sequences_ = {0, rows};
    for (int n = 0; n < rows; n += 2 * d) windows_.push_back(n);
    windows_.push_back(rows);
    for (int i = rows / d - 1; i >= 0; --i) merged_order_.push_back(i);
    for (int i = 0; i < rows; ++i) order_.push_back(merged_order_[i / d] * d + i % d);
    if constexpr (using_heads) half_ = find_t<Layer, lamina::detail::HasHeads>::HeadsOf::head_dim / 2;
    for (const float angle : grid_values("angle", seed, static_cast<std::size_t>(rows) * half_, 3)) {
      cos_.push_back(std::cos(angle));
      sin_.push_back(std::sin(angle));
    }
    if constexpr (using_table)
      for (const float u : grid_values("position", seed, static_cast<std::size_t>(rows) * 4, 1))
        position_rows_.push_back(static_cast<int>((u + 1) / 2 * find_t<Layer, lamina::detail::HasTable>::table_rows));
    position_weights_ = grid_values("position weight", seed, static_cast<std::size_t>(rows) * 4, 1);
  }
  Context<float> context(const std::uint64_t* dropout_seed) const {
    Context<float> c;
    c.rows = rows_;
    c.cu_seqlens = sequences_.data();
    c.sequences = static_cast<int>(sequences_.size()) - 1;
    c.cu_windows = windows_.data();
    c.windows = static_cast<int>(windows_.size()) - 1;
    c.cos = {cos_.data(), rows_, half_};
    c.sin = {sin_.data(), rows_, half_};
    c.position_rows = position_rows_.data();
    c.position_weights = position_weights_.data();
    c.order = order_.data();
    c.merged_order = merged_order_.data();
    c.dropout_seed = dropout_seed;
    return c;
  }

 private:
  static constexpr bool using_heads = !std::is_void_v<find_t<Layer, lamina::detail::HasHeads>>;
  static constexpr bool using_table = !std::is_void_v<find_t<Layer, lamina::detail::HasTable>>;
  int rows_, half_ = 0;
  std::vector<int> sequences_, windows_, order_, merged_order_, position_rows_;
  std::vector<float> cos_, sin_, position_weights_;
};

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
        dy_(grid_values("dy", options.seed, elements(options.rows, Layer::Out::width), 1)) {
    Arena counts;
    auto saved = std::make_unique<Saved>();
    allocate_saved<Layer, Training>(*saved, counts, rows_);
    kept_ = Arena(counts.peak_bytes());
    fill_weights();
    report_.tolerance = options.tolerance;
  }

  GradientRun run_once() { return pass(true, 1); }
  GradientReport check() {
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
  /// Rows that a module reads and writes lie as in any arena: the order of Eigen's sums depends on where a row begins.
  Arena rows_block() const { return Arena((2 * x_.size() + dy_.size()) * sizeof(float) + 4 * Arena::alignment); }
  static Matrix<float> matrix_of(Arena& rows, const std::vector<float>& values, int width) {
    float* const to = rows.take<float>(values.size());
    std::copy(values.begin(), values.end(), to);
    return {to, static_cast<int>(values.size()) / width, width};
  }
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
                      Matrix<const float>(dy_.data(), options_.rows, Layer::Out::width), dx);
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
    constexpr float h = 0x1p-5f;
    double largest = 0, worst = 0;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const float original = at[i];
      const auto f = [&](float step) { return at[i] = original + step, projection(); };
      const double slope = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * static_cast<double>(h));
      at[i] = original;
      const double difference = std::abs(slope - static_cast<double>(gradient[i]));
      largest = std::max(largest, std::abs(slope));
      worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
    }
    report_.quantities.push_back({name, worst / std::max(largest, 1e-3), static_cast<std::int64_t>(gradient.size())});
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
