#pragma once
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/core/run.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/testing/deterministic_weights.hpp>

/// One module on random numbers, on any backend. The kernels that it launches must be included by the caller.
namespace lamina::testing {

struct LayerRunOptions {
  int rows = 256;             ///< input rows, one sequence
  int rank = 8;               ///< of adapters whose rank the type leaves open
  std::uint64_t seed = 1;     ///< of inputs and parameters
  DType values = DType::F32;  ///< they are rounded to this type, so that runs in other types have the same
};

/// What a module computed, in fp32 on the host.
struct LayerResults {
  std::vector<float> y, dx;
  std::vector<std::pair<std::string, std::vector<float>>> gradients;  ///< by checkpoint name
};

/// A module L with parameters, input and memory, whose forward and backward can be called again and again. Values
/// depend on names and seed alone: another backend and another element type get the same, rounded.
template <class L, class T = float, Backend B = Cpu>
class LayerRun {
 public:
  using Training = Mode<T, true, true>;
  using Inference = typename Training::inference;
  static_assert(L::In::rank == 2 && L::Out::rank == 2,
                "LayerRun: the module must map rows of numbers to rows of numbers");

  /// The device outlives it. std::bad_alloc or Error if there is not enough memory.
  explicit LayerRun(Device<B>& device, const LayerRunOptions& options = {})
      : options_(options), device_(device), rows_(whole_rows(options.rows)), weights_([&](const TensorSpec&) {
          return typename Weights<L, T, B>::Choice{dtype_of<T>, options.rank, true};
        }) {
    weights_.allocate(true, device.stream());
    fill_weights();
    fill_rows();
    fill_context();
    count_memory();
    kept_ = Arena(saved_bytes_, Memory<B>{});
    scratch_ = Arena(scratch_bytes_, Memory<B>{});
    allocate_saved<L, Training>(*saved_, kept_, rows_);
  }

  /// y, and what backward reads.
  void forward() { L::forward(run<Training>(), weights_.parameters(), *saved_, Matrix<const T>(x_), y_); }
  /// y alone, as a server computes it.
  void infer() {
    typename L::template Saved<Inference> nothing{};
    L::forward(run<Inference>(), weights_.parameters(), nothing, Matrix<const T>(x_), y_);
  }
  /// dx, and more in the gradients. After forward().
  void backward() { L::backward(run<Training>(), weights_.parameters(), *saved_, Matrix<const T>(dy_), dx_); }
  void wait() { device_.wait(); }

  int rows() const { return rows_; }
  std::int64_t parameter_bytes() const {
    std::int64_t bytes = 0;
    for (const TensorSlot& slot : weights_.slots()) bytes += slot.spec.count() * static_cast<std::int64_t>(sizeof(T));
    return bytes;
  }
  /// What forward leaves for backward, the module's input and output included if it asks to keep them.
  std::size_t saved_bytes() const {
    const auto rows = static_cast<std::size_t>(rows_);
    std::size_t bytes = saved_row_bytes<L, Training>() * rows;
    if (stays<L, Training>.input) bytes += rows * L::In::width * sizeof(T);
    if (stays<L, Training>.output) bytes += static_cast<std::size_t>(y_.rows) * L::Out::width * sizeof(T);
    return bytes;
  }
  /// One forward and one backward from gradients of zero.
  LayerResults results() {
    Memory<B>::zero(device_.stream(), weights_.gradients().data(), weights_.gradients().size_bytes());
    forward(), backward(), wait();
    LayerResults out{.y = fetch(y_), .dx = fetch(dx_), .gradients = {}};
    std::vector<float> all(weights_.gradients().size());
    Memory<B>::download(device_.stream(), all.data(), weights_.gradients().data(), all.size() * sizeof(float));
    for (const TensorSlot& slot : weights_.slots()) {
      if (!slot.learns) continue;
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(slot.offset);
      out.gradients.emplace_back(slot.name(), std::vector<float>(first, first + slot.spec.count()));
    }
    return out;
  }

 private:
  static constexpr bool has_heads = !std::is_void_v<find_t<L, lamina::detail::HasHeads>>;
  static constexpr bool has_table = !std::is_void_v<find_t<L, lamina::detail::HasTable>>;

  static int whole_rows(int wanted) {
    constexpr int d = L::traits.row_divisor;
    if (wanted < 1) fail("LayerRun: ", wanted, " rows; wanted at least 1");
    return (wanted + d - 1) / d * d;
  }
  template <class M>
  Run<B, M> run() {
    return {device_.stream(&scratch_), &scratch_, &context_};
  }

  float rounded(float v) const {
    if (options_.values == DType::BF16) return to_f32(round_to<bf16>(v));
    if (options_.values == DType::F16) return to_f32(round_to<f16>(v));
    return v;
  }
  void fill_weights() {
    for (std::size_t i = 0; i < weights_.slots().size(); ++i) {
      const TensorSlot& slot = weights_.slots()[i];
      const std::vector<std::int64_t> shape(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
      std::vector<float> values(static_cast<std::size_t>(slot.spec.count()));
      fill_deterministic(slot.name(), shape, values);
      for (float& v : values) v = rounded(v);
      weights_.fill(slot, [&](std::span<std::byte> to) {
        for (std::size_t k = 0; k < values.size(); ++k)
          if (slot.dtype == DType::F32)
            reinterpret_cast<float*>(to.data())[k] = values[k];
          else
            reinterpret_cast<T*>(to.data())[k] = round_to<T>(values[k]);
      });
      if (weights_.parameters()[i].scale == 0) weights_.parameters()[i].scale = 2;  // alpha / rank, left open
    }
  }
  Matrix<T> random_rows(std::string_view name, int rows, int width) {
    const std::uint64_t hash = splitmix64(fnv1a64(name) ^ options_.seed);
    std::vector<T> values(static_cast<std::size_t>(rows) * static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = round_to<T>(rounded(2 * deterministic_unit(hash, i)));
    return {const_cast<T*>(put(values)), rows, width};
  }
  void fill_rows() {
    const int out = out_rows<L>(rows_, 1);
    x_ = random_rows("x", rows_, L::In::width), dy_ = random_rows("dy", out, L::Out::width);
    y_ = random_rows("y", out, L::Out::width), dx_ = random_rows("dx", rows_, L::In::width);
  }
  /// The values in the backend's memory.
  template <class V>
  const V* put(const std::vector<V>& values) {
    Arena& block = tables_.emplace_back(std::max(values.size(), std::size_t{1}) * sizeof(V), Memory<B>{});
    V* const to = block.template take<V>(values.size());
    Memory<B>::upload(device_.stream(), to, values.data(), values.size() * sizeof(V));
    return to;
  }
  void fill_context() {
    const auto rows = static_cast<std::size_t>(rows_);
    const std::vector<int> ends = {0, rows_};
    std::vector<int> order(rows);
    for (std::size_t i = 0; i < rows; ++i) order[i] = static_cast<int>(i);
    context_.rows = context_.longest = context_.longest_window = rows_;
    context_.sequences = context_.windows = 1;
    context_.cu_seqlens = context_.cu_windows = put(ends);
    context_.order = context_.merged_order = put(order);
    constexpr int own_rows = L::traits.rows_per_sequence;
    if constexpr (own_rows > 0) {
      std::vector<int> own(own_rows);
      std::iota(own.begin(), own.end(), 0);
      context_.latent_rows = put(own);
      context_.cu_latents = put(std::vector<int>{0, own_rows});
    }
    if constexpr (has_heads) {
      constexpr int half = find_t<L, lamina::detail::HasHeads>::HeadsOf::head_dim / 2;
      std::vector<float> cos, sin;
      for (std::size_t i = 0; i < rows * half; ++i) {
        const float angle = 3 * deterministic_unit(fnv1a64("angle"), i);
        cos.push_back(std::cos(angle)), sin.push_back(std::sin(angle));
      }
      context_.cos = {put(cos), rows_, half}, context_.sin = {put(sin), rows_, half};
    }
    if constexpr (has_table) {
      constexpr int table = find_t<L, lamina::detail::HasTable>::table_rows;
      std::vector<int> at(4 * rows);
      for (std::size_t i = 0; i < at.size(); ++i)
        at[i] = static_cast<int>((deterministic_unit(fnv1a64("position"), i) + 0.5f) * (table - 1));
      context_.position_rows = put(at);
      context_.position_weights = put(std::vector<float>(4 * rows, 0.25f));
    }
  }
  /// Runs the module on the backend that only counts.
  void count_memory() {
    Arena kept, scratch;
    auto saved = std::make_unique<typename L::template Saved<Training>>();
    allocate_saved<L, Training>(*saved, kept, rows_);
    const Run<Plan, Training> plan{plan_stream<B>(nullptr, scratch), &scratch, &context_};
    L::forward(plan, weights_.parameters(), *saved, Matrix<const T>(x_), y_);
    L::backward(plan, weights_.parameters(), *saved, Matrix<const T>(dy_), dx_);
    constexpr std::size_t for_host_kernels = std::size_t{16} << 20;  // which take theirs without saying how much
    saved_bytes_ = kept.peak_bytes(), scratch_bytes_ = scratch.peak_bytes() + for_host_kernels;
  }
  std::vector<float> fetch(Matrix<T> from) {
    std::vector<T> values(static_cast<std::size_t>(from.rows) * static_cast<std::size_t>(from.cols));
    Memory<B>::download(device_.stream(), values.data(), from.data, values.size() * sizeof(T));
    std::vector<float> out(values.size());
    std::transform(values.begin(), values.end(), out.begin(), [](T v) { return to_f32(v); });
    return out;
  }

  LayerRunOptions options_;
  Device<B>& device_;
  int rows_;
  Weights<L, T, B> weights_;
  std::vector<Arena> tables_;
  Context<T> context_;
  Matrix<T> x_, y_, dy_, dx_;
  std::size_t saved_bytes_ = 0, scratch_bytes_ = 0;
  Arena kept_, scratch_;
  std::unique_ptr<typename L::template Saved<Training>> saved_ =
      std::make_unique<typename L::template Saved<Training>>();
};

}  // namespace lamina::testing
