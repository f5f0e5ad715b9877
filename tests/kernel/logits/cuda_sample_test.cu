#include <lamina/kernel/cpu/logits/adjust_logits.hpp>
#include <lamina/kernel/cpu/logits/sample.hpp>
#include <lamina/kernel/cuda/logits/adjust_logits.cuh>
#include <lamina/kernel/cuda/logits/sample.cuh>

#include <algorithm>
#include <cmath>
#include <random>
#include "kernel/adjust_problem.hpp"
#include "support/catch.hpp"
#include "support/cuda.cuh"

using namespace lamina;
using namespace lamina::kernel;
using testing::gpu;

namespace {

const std::vector<SamplingRule> each_rule = {{.temperature = 0},
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
                                             {.temperature = 1.2, .top_p = 0.9, .top_k = 40},
                                             {.temperature = 100, .top_p = 0.9, .top_k = 3000},
                                             {.temperature = 2, .top_p = 0.95, .min_p = 1e-3, .top_k = 100000}};

/// Logits with many equal values, or, if they are fine, with all that T tells apart.
template <class T>
std::vector<T> random_logits(int vocab, unsigned seed, bool fine = false) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<T> logits(static_cast<std::size_t>(vocab));
  for (T& x : logits) {
    const float value = normal(random);
    x = round_to<T>(fine ? value : std::round(value * 16) / 16);
  }
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
  std::vector<int> rows, chosen, sources;
  std::vector<float> adjusted;  ///< rows that sources name
  int vocab = 0;

  void add(const std::vector<T>& row, const SamplingRule& rule, bool padding = false) {
    vocab = static_cast<int>(row.size());
    const int s = static_cast<int>(rules.size());
    logits.insert(logits.end(), row.begin(), row.end());
    rules.push_back(rule);
    rows.push_back(padding ? -1 : 5 * s % 211);
    chosen.push_back(3 * s);
    sources.push_back(-1);
  }
  /// Draws from `row` instead of the logits, which are not finite.
  void add_adjusted(const std::vector<float>& row, const SamplingRule& rule) {
    add(std::vector<T>(row.size(), round_to<T>(NAN)), rule);
    sources.back() = static_cast<int>(adjusted.size() / row.size());
    adjusted.insert(adjusted.end(), row.begin(), row.end());
  }
  int adjusted_rows() const { return static_cast<int>(adjusted.size()) / vocab; }
  RowChoices<T> on_cpu() const {
    RowChoices<T> out{std::vector<int>(rows.size(), -7), std::vector<int>(211, -7)};
    sample<Cpu>::rows(Stream<Cpu>{}, SampleRows<T>{.logits = {logits.data(), static_cast<int>(rows.size()), vocab},
                                                   .adjusted = {adjusted.data(), adjusted_rows(), vocab},
                                                   .sources = sources.data(),
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
                          .adjusted = {gpu().upload(adjusted), adjusted_rows(), vocab},
                          .sources = gpu().upload(sources),
                          .rows = gpu().upload(rows),
                          .rules = gpu().upload(rules),
                          .chosen = gpu().upload(chosen),
                          .newest = gpu().upload(std::vector<int>(211, -7)),
                          .told = gpu().upload(std::vector<int>(rows.size(), -7))};
    sample<Cuda>::rows(gpu().stream(), a);
    return {gpu().download(a.told, rows.size()), gpu().download(a.newest, 211)};
  }
};

}  // namespace

TEMPLATE_TEST_CASE("sample rows on CUDA: each row gets what the CPU chooses by its rule", "", float, bf16, f16) {
  using T = TestType;
  for (const int vocab : {1, 7, 255, 2049, 5000, 151936}) {
    RowsProblem<T> problem;
    for (std::size_t r = 0; r < each_rule.size(); ++r)
      for (int copy = 0; copy < 3; ++copy) {
        SamplingRule rule = each_rule[r];
        rule.seed = 3 + static_cast<std::uint64_t>(copy), rule.stream = r;
        problem.add(random_logits<T>(vocab, static_cast<unsigned>(r)), rule);
        problem.add(random_logits<T>(vocab, static_cast<unsigned>(r), true), rule);
      }
    for (const SamplingRule& rule : each_rule)  // all equal: the sorted ones settle nothing
      problem.add(std::vector<T>(static_cast<std::size_t>(vocab), round_to<T>(-1.5f)), rule);
    problem.add(random_logits<T>(vocab, 1), {}, true);
    CAPTURE(vocab);
    const auto want = problem.on_cpu(), got = problem.on_gpu();
    CHECK(got.told == want.told);
    CHECK(got.newest == want.newest);
  }
}

TEMPLATE_TEST_CASE("sample rows on CUDA: few rows, each read by several blocks, get the same", "", float, bf16) {
  using T = TestType;
  for (const int vocab : {7, 2049, 151936})
    for (const int rows : {1, 8, 12, 24, 40, 66}) {
      RowsProblem<T> problem;
      for (int r = 0; r < rows; ++r) {
        SamplingRule rule = each_rule[static_cast<std::size_t>(r) % each_rule.size()];
        rule.seed = 11, rule.stream = static_cast<std::uint64_t>(r);
        if (r % 5 == 3)
          problem.add_adjusted(std::vector<float>(static_cast<std::size_t>(vocab), r % 2 ? 0.5f : -INFINITY), rule);
        else
          problem.add(random_logits<T>(vocab, static_cast<unsigned>(r)), rule, r % 7 == 6);
      }
      CAPTURE(vocab, rows);
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

TEMPLATE_TEST_CASE("sample rows on CUDA: adjusted rows may exclude tokens, and get what the CPU chooses of the others",
                   "", float, bf16, f16) {
  using T = TestType;
  for (const int vocab : {7, 5000, 151936}) {
    RowsProblem<T> problem;
    std::mt19937 random(static_cast<unsigned>(vocab));
    for (const SamplingRule& rule : each_rule)
      for (const unsigned keep_one_of : {1u, 2u, 1000u, 1000000u}) {  // the last keeps one token, or very few
        std::vector<float> row = random_logits<float>(vocab, random() % 5);
        const std::size_t kept = random() % row.size();
        for (std::size_t id = 0; id < row.size(); ++id)
          if (id != kept && random() % keep_one_of != 0) row[id] = -INFINITY;
        problem.add_adjusted(row, rule);
        problem.add(random_logits<T>(vocab, 3), rule);
      }
    CAPTURE(vocab);
    const auto want = problem.on_cpu(), got = problem.on_gpu();
    CHECK(got.told == want.told);
    CHECK(got.newest == want.newest);
    CHECK(*std::min_element(got.told.begin(), got.told.end()) >= 0);
  }
}

TEMPLATE_TEST_CASE("sample rows on CUDA: adjusted rows without a token, or with other wrong numbers, are told apart",
                   "", float, bf16, f16) {
  using T = TestType;
  RowsProblem<T> problem;
  const int none = SampleRows<T>::none_left, wrong = SampleRows<T>::not_finite;
  std::vector<int> want;
  for (const SamplingRule& rule : each_rule)
    for (const float bad : {-INFINITY, INFINITY, NAN}) {
      std::vector<float> row(5000, -INFINITY);
      row[4321] = bad;
      problem.add_adjusted(row, rule);
      want.push_back(bad == -INFINITY ? none : wrong);
    }
  const auto got = problem.on_gpu();
  CHECK(got.told == want);
  CHECK(problem.on_cpu().told == want);
  CHECK(std::all_of(problem.rows.begin(), problem.rows.end(),
                    [&](int row) { return got.newest[static_cast<std::size_t>(row)] == -1; }));
}

TEMPLATE_TEST_CASE("adjust_logits on CUDA: has the CPU's bits", "", float, bf16, f16) {
  using T = TestType;
  for (const int vocab : {1, 1000, 8191, 40000}) {
    const test::AdjustProblem<T> problem(vocab);
    std::vector<float> want;
    AdjustLogits<T> a = problem.on_host(want);
    adjust_logits<Cpu>::forward(Stream<Cpu>{}, a);
    gpu().release();
    float* const to = gpu().poisoned<float>(want.size());
    a.logits.data = gpu().upload(problem.logits), a.bits.data = gpu().upload(problem.bits);
    a.rules = gpu().upload(problem.rules), a.offsets = gpu().upload(problem.offsets);
    a.adjusted.data = to;
    adjust_logits<Cuda>::forward(gpu().stream(), a);
    const std::vector<float> got = gpu().download(to, want.size());
    CAPTURE(vocab);
    CHECK(std::equal(got.begin(), got.end(), want.begin(), test::same_bits));
  }
}
