#include <lamina/kernel/cpu/sample.hpp>
#include <lamina/kernel/cuda/rows/sample.cuh>

#include <random>
#include "support/catch.hpp"
#include "support/cuda.cuh"

using namespace lamina;
using namespace lamina::kernel;
using testing::gpu;

namespace {

/// Logits with many equal values.
template <class T>
std::vector<T> random_logits(int vocab, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<T> logits(static_cast<std::size_t>(vocab));
  for (T& x : logits) x = round_to<T>(std::round(normal(random) * 16) / 16);
  return logits;
}

/// Ids of S rows of logits, each with a rule of its own; the last row is padding.
template <class T>
struct RowChoices {
  std::vector<int> told, newest;
};
template <class T>
struct RowsProblem {
  std::vector<T> logits;
  std::vector<SamplingRule> rules;
  std::vector<int> rows, chosen;
  int vocab = 0;

  void add(const std::vector<T>& row, const SamplingRule& rule, bool padding = false) {
    vocab = static_cast<int>(row.size());
    const int s = static_cast<int>(rules.size());
    logits.insert(logits.end(), row.begin(), row.end());
    rules.push_back(rule);
    rows.push_back(padding ? -1 : 5 * s % 97);
    chosen.push_back(3 * s);
  }
  RowChoices<T> on_cpu() const {
    RowChoices<T> out{std::vector<int>(rows.size(), -7), std::vector<int>(97, -7)};
    sample<Cpu>::rows(Stream<Cpu>{}, SampleRows<T>{.logits = {logits.data(), static_cast<int>(rows.size()), vocab},
                                                   .rows = rows.data(),
                                                   .rules = rules.data(),
                                                   .chosen = chosen.data(),
                                                   .newest = out.newest.data(),
                                                   .told = out.told.data()});
    return out;
  }
  RowChoices<T> on_gpu() const {
    gpu().release();
    const SampleRows<T> a{.logits = {gpu().upload(logits), static_cast<int>(rows.size()), vocab},
                          .rows = gpu().upload(rows),
                          .rules = gpu().upload(rules),
                          .chosen = gpu().upload(chosen),
                          .newest = gpu().upload(std::vector<int>(97, -7)),
                          .told = gpu().upload(std::vector<int>(rows.size(), -7))};
    sample<Cuda>::rows(gpu().stream(), a);
    return {gpu().download(a.told, rows.size()), gpu().download(a.newest, 97)};
  }
};

}  // namespace

TEMPLATE_TEST_CASE("sample rows on CUDA: each row gets what the CPU chooses by its rule", "", float, bf16, f16) {
  using T = TestType;
  const std::vector<SamplingRule> rules = {{.temperature = 0},
                                           {.temperature = 1},
                                           {.temperature = 0.3},
                                           {.temperature = 5},
                                           {.temperature = 1, .min_p = 0.2},
                                           {.temperature = 1.3, .top_k = 20},
                                           {.temperature = 1.3, .top_k = 1},
                                           {.temperature = 1, .top_p = 0.8},
                                           {.temperature = 5, .top_p = 0.99},
                                           {.temperature = 1, .top_p = 1e-9},
                                           {.temperature = 0.7, .top_p = 0.8, .top_k = 20},
                                           {.temperature = 100, .top_p = 0.9, .top_k = 3000},
                                           {.temperature = 2, .top_p = 0.95, .min_p = 1e-3, .top_k = 100000}};
  for (const int vocab : {1, 7, 255, 2049, 5000, 151936}) {
    RowsProblem<T> problem;
    for (std::size_t r = 0; r < rules.size(); ++r)
      for (int copy = 0; copy < 3; ++copy) {
        SamplingRule rule = rules[r];
        rule.seed = 3 + static_cast<std::uint64_t>(copy), rule.stream = r;
        problem.add(random_logits<T>(vocab, static_cast<unsigned>(r)), rule);
      }
    for (const SamplingRule& rule : rules)  // all equal: the sorted ones settle nothing
      problem.add(std::vector<T>(static_cast<std::size_t>(vocab), round_to<T>(-1.5f)), rule);
    problem.add(random_logits<T>(vocab, 1), {}, true);
    CAPTURE(vocab);
    const auto want = problem.on_cpu(), got = problem.on_gpu();
    CHECK(got.told == want.told);
    CHECK(got.newest == want.newest);
  }
}

TEMPLATE_TEST_CASE("sample rows on CUDA: a row with a logit that is not finite is told by -1, its neighbours choose",
                   "", float, bf16, f16) {
  using T = TestType;
  RowsProblem<T> problem;
  for (const float bad : {0.0f, NAN, INFINITY, -INFINITY, -0.0f})
    for (const SamplingRule& rule :
         {SamplingRule{}, SamplingRule{.temperature = 1}, SamplingRule{.temperature = 1, .top_p = 0.5, .top_k = 7}}) {
      std::vector<T> logits = random_logits<T>(5000, 1);
      logits[4321] = round_to<T>(bad);
      problem.add(logits, rule);
    }
  const auto want = problem.on_cpu(), got = problem.on_gpu();
  CHECK(got.told == want.told);
  CHECK(std::count(got.told.begin(), got.told.end(), -1) == 9);
}
