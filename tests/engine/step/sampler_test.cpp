#include <lamina/engine/step/sampler.hpp>
#include <lamina/kernel/cpu/logits/sample.hpp>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "serve/message_of.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::engine;

namespace {
const std::vector<float> quarters = {std::log(0.5f), std::log(0.25f), std::log(0.125f), std::log(0.125f)};

/// Counts of n draws, each from a stream of its own.
std::vector<int> draws(SamplingParams params, const std::vector<float>& logits, int n) {
  std::vector<int> counts(logits.size());
  for (int i = 0; i < n; ++i) {
    params.stream = static_cast<std::uint64_t>(i);
    ++counts[static_cast<std::size_t>(Sampler(params, {}, static_cast<int>(logits.size())).next(logits).token.id)];
  }
  return counts;
}

/// Chi-square of counts against probabilities; zero probabilities must have zero counts.
double chi_square(const std::vector<int>& counts, const std::vector<double>& p) {
  double n = 0, sum = 0;
  for (const int c : counts) n += c;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) {
      CHECK(counts[i] == 0);
      continue;
    }
    sum += (counts[i] - n * p[i]) * (counts[i] - n * p[i]) / (n * p[i]);
  }
  return sum;
}
// The 1 - 1e-6 quantile of chi-square with 3 degrees of freedom is 30.7; the seeds are fixed, so a pass stays one.
constexpr double unlikely = 30.7;
}  // namespace

TEST_CASE("uniform: equals the known answers of Random123") {
  const auto number = [](std::uint64_t first, std::uint64_t second) {
    return static_cast<double>((first << 21) ^ (second >> 11)) * 0x1p-53;
  };
  CHECK(uniform(0, 0, 0) == number(0x6627e8d5, 0xe169c58d));
  CHECK(uniform(~0ull, ~0ull, ~0ull) == number(0x408f276d, 0x41c83b0e));
  CHECK(uniform(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) == number(0xd16cfe09, 0x94fdcceb));
  for (std::uint64_t i = 0; i < 1000; ++i) {
    CHECK(uniform(1, 2, i) >= 0);
    CHECK(uniform(1, 2, i) < 1);
  }
}

TEST_CASE("Sampler: greedy takes the largest logit, of equals the lowest id") {
  SamplingParams p{.temperature = 0};
  CHECK(Sampler(p, {}, 4).next(std::vector<float>{0, 3, 3, 1}).token.id == 1);
}

TEST_CASE("Sampler: draws follow softmax(logits / temperature)") {
  CHECK(chi_square(draws({}, quarters, 20000), {0.5, 0.25, 0.125, 0.125}) < unlikely);
  // Temperature 0.5 squares the probabilities: 1/4, 1/16, 1/64, 1/64, over 22/64.
  CHECK(chi_square(draws({.temperature = 0.5}, quarters, 20000), {16 / 22., 4 / 22., 1 / 22., 1 / 22.}) < unlikely);
}

TEST_CASE("Sampler: top_k, top_p and min_p keep exactly the tokens they should, renormalised") {
  CHECK(chi_square(draws({.top_k = 2}, quarters, 20000), {2 / 3., 1 / 3., 0, 0}) < unlikely);
  CHECK(chi_square(draws({.top_k = 3}, quarters, 20000), {4 / 7., 2 / 7., 1 / 7., 0}) < unlikely);
  CHECK(chi_square(draws({.top_p = 0.6}, quarters, 20000), {2 / 3., 1 / 3., 0, 0}) < unlikely);
  CHECK(draws({.top_p = 1e-9}, quarters, 100) == std::vector<int>{100, 0, 0, 0});
  CHECK(chi_square(draws({.min_p = 0.4}, quarters, 20000), {2 / 3., 1 / 3., 0, 0}) < unlikely);
  CHECK(chi_square(draws({.min_p = 0.6}, quarters, 20000), {1, 0, 0, 0}) < unlikely);
  // top_p works on what top_k left: 2/3 of the mass of {0.5, 0.25} is the first token alone.
  CHECK(draws({.top_p = 0.65, .top_k = 2}, quarters, 100) == std::vector<int>{100, 0, 0, 0});
  CHECK(chi_square(draws({.top_k = -1}, quarters, 20000), {0.5, 0.25, 0.125, 0.125}) < unlikely);
}

TEST_CASE("Sampler: the same seed and stream give the same tokens, others do not") {
  const std::vector<float> flat(1000, 0.0f);
  const auto run = [&](std::uint64_t seed, std::uint64_t stream) {
    Sampler sampler({.seed = seed, .stream = stream}, {}, 1000);
    std::vector<int> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.next(flat).token.id);
    return ids;
  };
  CHECK(run(1, 0) == run(1, 0));
  CHECK(run(1, 0) != run(2, 0));
  CHECK(run(1, 0) != run(1, 1));
}

TEST_CASE("Sampler: penalties, bias and masks change the logits as documented") {
  const std::vector<float> logits = {2.0f, 1.9f, -1.0f, -1.1f};
  const auto first = [&](SamplingParams p, std::vector<int> prompt = {}) {
    p.temperature = 0;
    return Sampler(p, prompt, 4).next(logits).token.id;
  };
  CHECK(first({}) == 0);
  CHECK(first({.repetition_penalty = 1.1}, {0}) == 1);                               // 2 / 1.1 < 1.9
  CHECK(first({.repetition_penalty = 1.2, .allowed_token_ids = {2, 3}}, {2}) == 3);  // -1 * 1.2 < -1.1
  CHECK(first({.logit_bias = {{3, 5.0}}}) == 3);
  CHECK(first({.allowed_token_ids = {1, 3}}) == 1);
  CHECK(first({.min_tokens = 1, .ends = {0}}) == 1);
  const auto second = [&](SamplingParams p) {
    p.temperature = 0;
    Sampler sampler(p, {}, 4);
    sampler.next(logits);
    return sampler.next(logits).token.id;
  };
  CHECK(second({.presence_penalty = 0.2}) == 1);
  CHECK(second({.presence_penalty = 0.05}) == 0);
  CHECK(second({.frequency_penalty = 0.2}) == 1);
  CHECK(second({.min_tokens = 1, .ends = {0}}) == 0);
}

namespace {
/// Allows a token at each place, and hears what was drawn.
struct Spelling final : TokenMask {
  std::vector<std::vector<int>> allowed;
  std::vector<int> heard;
  void fill(std::span<std::uint64_t> bits) override {
    REQUIRE(bits.size() == 1);
    bits[0] = 0;
    for (const int token : allowed.at(heard.size())) bits[0] |= std::uint64_t{1} << token;
  }
  void drawn(int token) override { heard.push_back(token); }
};
}  // namespace

TEST_CASE("Sampler: a mask is asked before each draw, after which it hears the token") {
  const auto mask = std::make_shared<Spelling>();
  mask->allowed = {{2}, {1, 3}, {3}, {3}};
  SamplingParams params{.temperature = 0, .mask = mask, .min_tokens = 3, .ends = {3}};
  CHECK(params.adjusts());
  Sampler sampler(params, {}, 4);
  CHECK(sampler.next(quarters).token.id == 2);
  CHECK(sampler.next(quarters).token.id == 1);  // an end, which comes too early, is not among those that may come
  CHECK(sampler.next(quarters).token.id == 3);  // but here nothing else may
  CHECK(mask->heard == std::vector<int>{2, 1, 3});
  mask->allowed[3] = {};
  CHECK(test::message_of([&] { sampler.next(quarters); }).find("every token is excluded") != std::string::npos);
}

TEST_CASE("Sampler: logprobs are of the raw distribution and list the best") {
  SamplingParams p{.temperature = 0, .logit_bias = {{2, 100.0}}, .logprobs = true, .top_logprobs = 2};
  const auto s = Sampler(p, {}, 4).next(quarters);
  CHECK(s.token.id == 2);
  CHECK(std::abs(s.token.logprob - std::log(0.125)) < 1e-6);
  REQUIRE(s.top.size() == 2);
  CHECK(s.top[0].id == 0);
  CHECK(std::abs(s.top[1].logprob - std::log(0.25)) < 1e-6);
}

TEST_CASE("Sampler: a logit that is not finite is an error that names it, never a token") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    Sampler sampler({}, {}, 3);
    const auto message = test::message_of([&] { sampler.next(std::vector<float>{0, bad, 0}); });
    CHECK(message.find("logit of token 1") != std::string::npos);
  }
  CHECK_THROWS_AS(Sampler({}, std::vector<int>{9}, 3), Error);
  CHECK_THROWS_AS(Sampler({.logit_bias = {{-1, 1.0}}}, {}, 3), Error);
}

TEST_CASE("sample: a session's own choice is the sampler's, whatever the rule") {
  constexpr int vocab = 5000;
  std::vector<float> logits(vocab);
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 3);
  for (float& x : logits) x = std::round(normal(random) * 8) / 8;  // many equal ones
  const std::vector<SamplingParams> rules = {{.temperature = 0},   {.temperature = 1},
                                             {.temperature = 0.7}, {.temperature = 1.3, .top_k = 20},
                                             {.top_p = 0.8},       {.temperature = 0.7, .top_p = 0.8, .top_k = 20},
                                             {.min_p = 0.1},       {.top_k = 100, .min_p = 0.3},
                                             {.top_p = 1e-9},      {.top_p = 0.95, .top_k = 9999, .min_p = 1e-4}};
  for (SamplingParams params : rules) {
    params.seed = 11, params.stream = 5;
    const kernel::SamplingRule rule = params.rule();
    Sampler sampler(params, {}, vocab);
    const int row = 0;
    for (int n = 0; n < 50; ++n) {
      int newest = -1, told = -1;
      kernel::sample<Cpu>::rows(Stream<Cpu>{}, kernel::SampleRows<float>{.logits = {logits.data(), 1, vocab},
                                                                         .rows = &row,
                                                                         .rules = &rule,
                                                                         .chosen = &n,
                                                                         .newest = &newest,
                                                                         .told = &told});
      CHECK(told == sampler.next(logits).token.id);
      CHECK(newest == told);
    }
  }
  CHECK(SamplingParams{.repetition_penalty = 1.1}.adjusts());
  CHECK_FALSE(SamplingParams{.logprobs = true}.adjusts());
}

TEST_CASE("sample: of an adjusted row -inf excludes a token; other numbers that are not finite are no tokens") {
  constexpr float out = -std::numeric_limits<float>::infinity(), infinite = -out;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> own = {0, out, 0}, adjusted = {out, 1, out, out, out, out, 0, nan, out, infinite, 0, out};
  const std::vector<int> rows = {0, 1, 2, 3, 4}, sources = {-1, 0, 1, 2, 3}, chosen(5, 0);
  for (const kernel::SamplingRule& each :
       {kernel::SamplingRule{}, {.temperature = 1}, {.temperature = 2, .top_p = 0.9, .top_k = 2}}) {
    const std::vector<kernel::SamplingRule> rules(5, each);
    std::vector<float> logits;
    for (int s = 0; s < 5; ++s) logits.insert(logits.end(), own.begin(), own.end());
    std::vector<int> newest(5, -7), told(5, -7);
    kernel::sample<Cpu>::rows(Stream<Cpu>{}, kernel::SampleRows<float>{.logits = {logits.data(), 5, 3},
                                                                       .adjusted = {adjusted.data(), 4, 3},
                                                                       .sources = sources.data(),
                                                                       .rows = rows.data(),
                                                                       .rules = rules.data(),
                                                                       .chosen = chosen.data(),
                                                                       .newest = newest.data(),
                                                                       .told = told.data()});
    using Rows = kernel::SampleRows<float>;
    CHECK(told == std::vector<int>{Rows::not_finite, 1, Rows::none_left, Rows::not_finite, Rows::not_finite});
    CHECK(newest == std::vector<int>{-1, 1, -1, -1, -1});
  }
}

TEST_CASE(
    "Sampler: offsets of single tokens are as many as biases and, with penalties, different tokens of the answer") {
  Sampler biased({.temperature = 0, .logit_bias = {{2, 5.0}}}, {}, 4);
  biased.next(quarters), biased.next(quarters);
  CHECK(biased.offsets().size() == 1);
  Sampler penalised({.temperature = 0, .frequency_penalty = 0.5, .logit_bias = {{2, 5.0}}}, {}, 4);
  for (int n = 0; n < 3; ++n) CHECK(penalised.next(quarters).token.id == 2);
  penalised.drew(1);
  REQUIRE(penalised.offsets().size() == 2);
  CHECK(penalised.offsets()[0].bias == 5);
  CHECK(penalised.offsets()[0].penalty == 1.5f);
  CHECK(penalised.offsets()[1].id == 1);
  CHECK(penalised.offsets()[1].penalty == 0.5f);
  CHECK(penalised.penalised().empty());
}

TEST_CASE("Sampler: with min_tokens alone, logits are left as they are once so many tokens were drawn") {
  Sampler sampler({.temperature = 0, .min_tokens = 2, .ends = {0}}, {}, 4), bound({.logit_bias = {{2, 1.0}}}, {}, 4);
  for (int n = 0; n < 2; ++n) {
    CHECK(sampler.adjusts());
    CHECK(sampler.next(quarters).token.id == 1);
    bound.next(quarters);
  }
  CHECK_FALSE(sampler.adjusts());
  CHECK(sampler.next(quarters).token.id == 0);
  CHECK(bound.adjusts());
}

TEST_CASE("Sampler: a penalty that makes logits overflow leaves tokens to draw") {
  const std::vector<float> logits = {2, 1, -1, -2};
  for (const double penalty : {1e-30, 1e-38, 1e-40, 1e-300, 2.3e-308, 1e300})
    for (const double temperature : {0.0, 1e-4, 1.0}) {
      CAPTURE(penalty, temperature);
      Sampler sampler({.temperature = temperature, .repetition_penalty = penalty}, std::vector<int>{0, 2}, 4);
      for (int n = 0; n < 8; ++n) {
        const int id = sampler.next(logits).token.id;
        CHECK((penalty < 1 ? id == 0 : id >= 0 && id < 4));
      }
    }
}
