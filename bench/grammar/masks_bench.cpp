#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <lamina/core/threads.hpp>
#include <lamina/grammar/compile.hpp>

/// What the grammars of 64 answers cost the host in each step: a mask for each, on all threads, as a step asks for
/// them, then the token that was drawn. Words are random, of the size and shape of Qwen's vocabulary. Time is that of a
/// step; first: answers to a grammar that nobody has followed before.
namespace {

using namespace lamina;
using namespace lamina::grammar;

constexpr int vocab = 151'936, answers = 64, steps = 256;

std::shared_ptr<const Vocabulary> words() {
  std::mt19937 random(1);
  const auto letters = [&](const std::string& of, std::size_t count) {
    std::string out;
    while (out.size() < count) out += of[random() % of.size()];
    return out;
  };
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  while (texts.size() < vocab) {
    const std::size_t kind = random() % 10, length = 2 + random() % 9;
    const std::string low = letters("abcdefghijklmnopqrstuvwxyz", length);
    texts.push_back(kind < 3   ? " " + low
                    : kind < 5 ? low
                    : kind < 7 ? letters("ABCXYZabcxyz_.(", length)
                    : kind < 8 ? letters("\"{}[],: \n", 1 + length / 3)
                               : letters("\xe4\xb8\xad\xe5\x9b\xbd", 3 * length));
  }
  return std::make_shared<const Vocabulary>(std::move(texts), std::vector<int>{vocab - 1});
}

Constraint constraint(int which) {
  if (which == 0) return {.kind = Constraint::Kind::regex, .text = "[a-z ]{2000}"};
  return {.kind = Constraint::Kind::json_schema,
          .text = R"({"type":"array","minItems":200,"maxItems":200,"items":{"type":"object","properties":
                     {"name":{"type":"string"},"n":{"type":"integer"}},"required":["name","n"]}})"};
}

/// Any token of a mask.
int draw(const std::vector<std::uint64_t>& bits, std::mt19937& random) {
  for (std::size_t word = random() % bits.size();; word = (word + 1) % bits.size())
    if (bits[word] != 0) return static_cast<int>(word * 64) + std::countr_zero(bits[word]);
}

void masks_step(benchmark::State& state) {
  static const auto vocabulary = words();
  GrammarCache cache;
  const auto grammar = compile(constraint(static_cast<int>(state.range(0))), "bench", vocabulary, cache);
  std::mt19937 random(2);
  std::vector<std::vector<std::uint64_t>> bits(answers, std::vector<std::uint64_t>((vocab + 63) / 64));
  const auto follow = [&](bool timed) {
    std::vector<std::unique_ptr<Matcher>> matchers;
    for (int i = 0; i < answers; ++i) matchers.push_back(std::make_unique<Matcher>(grammar));
    for (int step = 0; step < steps; ++step) {
      if (timed && !state.KeepRunning()) return false;
      parallel_for_next(answers, [&](std::int64_t i) {
        const auto at = static_cast<std::size_t>(i);
        matchers[at]->mask(bits[at]);
      });
      for (std::size_t i = 0; i < answers; ++i) {
        if (timed) state.PauseTiming();
        const int token = draw(bits[i], random);
        if (timed) state.ResumeTiming();
        if (!matchers[i]->accept(token)) std::abort();
      }
    }
    return true;
  };
  if (state.range(1) == 0) follow(false);
  while (follow(true)) {
  }
  state.counters["MiB"] = static_cast<double>(grammar->bytes()) / (1 << 20);
}

BENCHMARK(masks_step)
    ->ArgNames({"json", "first"})
    ->Args({0, 1})
    ->Args({0, 0})
    ->Args({1, 1})
    ->Args({1, 0})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime()
    ->Iterations(1024);

}  // namespace

BENCHMARK_MAIN();
