#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/compose/plan/costs.hpp>
#include <lamina/testing/layer_run.hpp>
#include <lamina/testing/roofs.hpp>

/// Benchmarks of layers and compositions, with Google Benchmark's command line and output formats. A program that
/// compares two of them:
///
///     int main(int argc, char** argv) {
///       lamina::bench<Gelu>("gelu");
///       lamina::bench<Silu>("silu", {.rows = 1024});
///       return lamina::run_benches(argc, argv);
///     }
///
/// It includes the kernels: <lamina/kernel/cpu.hpp>, or <lamina/kernel/cuda.cuh> for lamina::bench<L, bf16, Cuda>; it
/// links benchmark::benchmark.
namespace lamina {

struct BenchOptions {
  int rows = 256;  ///< input rows, one sequence
  int rank = 8;    ///< of adapters whose rank the type leaves open
};

namespace detail {

/// A module under test, made when it is first run, and the roofs of its backend.
template <class L, class T, Backend B>
class Bench {
 public:
  explicit Bench(const BenchOptions& options) : options_({.rows = options.rows, .rank = options.rank}) {}

  enum class Pass { inference, forward, backward };
  void run(benchmark::State& state, Pass pass) {
    testing::LayerRun<L, T, B>& layer = made();
    const auto once = [&] {
      if (pass == Pass::inference) layer.infer();
      if (pass == Pass::forward) layer.forward();
      if (pass == Pass::backward) layer.backward();
    };
    layer.forward(), once(), layer.wait();  // loads kernels, touches memory, leaves what backward reads
    constexpr int batch = Device<B>::runs_ahead ? 64 : 1;
    const auto start = std::chrono::steady_clock::now();
    while (state.KeepRunningBatch(batch)) {
      for (int i = 0; i < batch; ++i) once();
      layer.wait();
    }
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - start;
    report(state, layer, pass, all.count() / static_cast<double>(state.iterations()));
  }

 private:
  testing::LayerRun<L, T, B>& made() {
    if (!run_) run_ = std::make_unique<testing::LayerRun<L, T, B>>(testing::bench_device<B>(), options_);
    return *run_;
  }
  /// Rates, and how much of the time would be needed on the roofs: the larger of arithmetic's and memory's.
  static void report(benchmark::State& state, const testing::LayerRun<L, T, B>& layer, Pass pass, double seconds) {
    // Backward multiplies twice, for its input and its parameters, and moves twice as much.
    const double passes = pass == Pass::backward ? 2 : 1;
    const double flops = passes * static_cast<double>(flops_per_row<L>) * layer.rows();
    double bytes = passes * (static_cast<double>(bytes_per_row<L, T>) * layer.rows() +
                             static_cast<double>(layer.parameter_bytes()));
    if (pass != Pass::inference) bytes += static_cast<double>(saved_row_bytes<L, Mode<T, true, true>>()) * layer.rows();
    const testing::Roofs& roofs = testing::roofs<T, B>();
    state.counters["GFLOP/s"] = flops / seconds * 1e-9;
    state.counters["GB/s"] = bytes / seconds * 1e-9;
    state.counters["roof%"] = 100 * std::max(flops / roofs.flop_per_s, bytes / roofs.bytes_per_s) / seconds;
    if (pass == Pass::forward) state.counters["saved_MB"] = static_cast<double>(layer.saved_bytes()) * 1e-6;
  }

  testing::LayerRunOptions options_;
  std::unique_ptr<testing::LayerRun<L, T, B>> run_;
};

inline constexpr const char* bench_passes[] = {"inference", "forward", "backward"};
/// The names that bench() was called with, in order.
inline std::vector<std::string>& benched() {
  static std::vector<std::string> names;
  return names;
}

/// A table of medians, each variant compared with the first; before it, what another reporter shows, if there is one.
class SideBySide : public benchmark::BenchmarkReporter {
 public:
  explicit SideBySide(std::unique_ptr<benchmark::BenchmarkReporter> shown) : shown_(std::move(shown)) {}
  bool ReportContext(const Context& context) override { return !shown_ || shown_->ReportContext(context); }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs)
      if (run.run_type == Run::RT_Iteration && !run.error_occurred && run.iterations > 0) note(run);
    if (shown_) shown_->ReportRuns(runs);
  }
  void Finalize() override {
    if (shown_) shown_->Finalize();
    std::FILE* const to = shown_ ? stderr : stdout;
    std::fprintf(to, "%-10s %-24s %11s %8s %10s %9s %8s %7s %9s\n", "pass", "variant", "median us", "spread",
                 "of first", "GFLOP/s", "GB/s", "roof", "saved MB");
    for (const char* pass : bench_passes) {
      std::vector<Variant>& variants = passes_[pass];
      std::stable_sort(variants.begin(), variants.end(), [](const Variant& a, const Variant& b) {
        const auto place = [](const Variant& v) { return std::find(benched().begin(), benched().end(), v.name); };
        return place(a) < place(b);
      });
      for (Variant& v : variants) {
        const double first = median(variants.front().seconds);
        std::fprintf(to, "%-10s %-24s %11.2f %7.1f%% %10.3f %9.1f %8.1f %6.0f%%", pass, v.name.c_str(),
                     median(v.seconds) * 1e6, 100 * spread(v.seconds), median(v.seconds) / first,
                     median(v.counters["GFLOP/s"]), median(v.counters["GB/s"]), median(v.counters["roof%"]));
        if (v.counters.contains("saved_MB")) std::fprintf(to, " %9.2f", median(v.counters["saved_MB"]));
        std::fprintf(to, "\n");
      }
    }
  }

 private:
  struct Variant {
    std::string name;
    std::vector<double> seconds;
    std::map<std::string, std::vector<double>> counters;
  };
  static double quantile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
  }
  static double median(const std::vector<double>& values) { return quantile(values, 0.5); }
  /// Half of the distance between the quartiles, divided by the median.
  static double spread(const std::vector<double>& values) {
    return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
  }
  void note(const Run& run) {
    const std::string& name = run.run_name.function_name;  // "variant/pass"
    const std::size_t slash = name.rfind('/');
    std::vector<Variant>& variants = passes_[name.substr(slash + 1)];
    auto v = std::find_if(variants.begin(), variants.end(),
                          [&](const Variant& v) { return v.name == name.substr(0, slash); });
    if (v == variants.end()) v = variants.insert(v, {name.substr(0, slash), {}, {}});
    v->seconds.push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
    for (const auto& [counter, value] : run.counters) v->counters[counter].push_back(value);
  }
  std::unique_ptr<benchmark::BenchmarkReporter> shown_;
  std::map<std::string, std::vector<Variant>> passes_;
};

}  // namespace detail

/// Registers three benchmarks of a module on random numbers: NAME/inference, NAME/forward, which keeps what backward
/// needs, and NAME/backward, with gradients of all parameters and of the input. Counters: GFLOP/s and GB/s by
/// flops_per_row and bytes_per_row (compose/plan/costs.hpp), roof%: the share of the time that arithmetic or memory
/// alone would need at this machine's measured rates (over 100 for what stays in caches), saved_MB.
template <class L, class T = float, Backend B = Cpu>
void bench(const std::string& name, const BenchOptions& options = {}) {
  using Bench = detail::Bench<L, T, B>;
  const auto shared = std::make_shared<Bench>(options);
  detail::benched().push_back(name);
  for (const typename Bench::Pass pass : {Bench::Pass::inference, Bench::Pass::forward, Bench::Pass::backward})
    benchmark::RegisterBenchmark((name + "/" + detail::bench_passes[static_cast<int>(pass)]).c_str(),
                                 [shared, pass](benchmark::State& state) { shared->run(state, pass); })
        ->UseRealTime();
}

/// Runs them with Google Benchmark's flags, nine repetitions in mixed order unless the command line asks for others,
/// and prints a table; with --benchmark_format=json or =console it goes to stderr, after that format. Returns main's
/// exit code: 2 for an unknown flag.
inline int run_benches(int argc, char** argv) {
  std::string repetitions = "--benchmark_repetitions=9", mixed = "--benchmark_enable_random_interleaving=true",
              shortly = "--benchmark_min_time=0.05";
  std::vector<char*> arguments = {argv[0], repetitions.data(), mixed.data(), shortly.data()};
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  std::unique_ptr<benchmark::BenchmarkReporter> shown;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--benchmark_format=json") shown = std::make_unique<benchmark::JSONReporter>();
    if (std::string_view(argv[i]) == "--benchmark_format=console")
      shown = std::make_unique<benchmark::ConsoleReporter>();
  }
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  detail::SideBySide reporter(std::move(shown));
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return 0;
}

}  // namespace lamina
