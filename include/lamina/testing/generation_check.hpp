#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lamina/compose/plan/initialise.hpp>
#include <lamina/core/random/torch.hpp>
#include <lamina/engine/single_sequence.hpp>
#include <lamina/train/forward.hpp>

/// Whether a model generates as it trains: a layer that mixes tokens must find those before it in the cache.
namespace lamina::testing {

struct GenerationOptions {
  int tokens = 24, prompt = 9;  ///< of the sequence; of these, read at once before the others come one by one
  std::uint64_t seed = 1;       ///< of the tokens, and of the weights if none are given
  /// What rounding explains: |found - wanted| / |wanted| of a row of logits. Kernels of prefill and of decoding sum the
  /// same terms in another order.
  double tolerance = 1e-4;
};

struct GenerationReport {
  struct Row {
    std::string what;  ///< "prefill of 9 tokens", "step to token 10"
    double distance = 0;
  };
  std::vector<Row> rows;
  double tolerance = 0;

  bool passed() const { return wrong().empty(); }
  std::vector<std::string> wrong() const {
    std::vector<std::string> names;
    for (const Row& row : rows)
      if (!(row.distance <= tolerance)) names.push_back(row.what);
    return names;
  }
  std::string text() const {
    std::string lines;
    for (const Row& row : rows)
      lines += cat(row.what, ": ", row.distance, row.distance <= tolerance ? "\n" : "  DIFFERS\n");
    const std::vector<std::string> differ = wrong();
    const bool steps_alone = std::all_of(differ.begin(), differ.end(), [](const auto& s) { return s[0] == 's'; });
    if (!differ.empty() && steps_alone)
      lines +=
          "hint: prompts are right and steps are not: some layer reads rows of earlier tokens, and a step has one "
          "row; it must keep them, as attention does in the context's pages\n";
    return lines;
  }
};

/// Compares the logits after a prompt, and after each further token, with those of one pass over all tokens, as in
/// training. Include <lamina/kernel/cpu.hpp> as well.
template <class Model>
GenerationReport check_generation(const Weights<Model, float>& weights, const GenerationOptions& options = {}) {
  if (options.prompt < 1 || options.prompt >= options.tokens)
    fail("check_generation: a prompt of ", options.prompt, " of ", options.tokens,
         " tokens; wanted 1 or more, and fewer");
  TorchGenerator random(options.seed);
  std::vector<int> ids(static_cast<std::size_t>(options.tokens));
  for (int& id : ids) id = static_cast<int>(random.random() % static_cast<std::uint32_t>(Model::vocab_size));
  const ForwardResult wanted = run_forward(weights, ids);
  GenerationReport report{.rows = {}, .tolerance = options.tolerance};
  const auto compare = [&](const std::string& what, int tokens, const std::vector<float>& logits) {
    double difference = 0, norm = 0;
    for (int v = 0; v < Model::vocab_size; ++v) {
      const double x = wanted.logits_matrix()(tokens - 1, v), y = logits[static_cast<std::size_t>(v)];
      difference += (x - y) * (x - y), norm += x * x;
    }
    report.rows.push_back({what, std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30)});
  };
  Device<Cpu> device;
  engine::SingleSequence<Model> sequence(device, weights, {}, options.tokens);
  const auto prefill = [&](int tokens) {
    Batch prompt;
    prompt.ids.assign(ids.begin(), ids.begin() + tokens);
    prompt.cu_seqlens = {0, tokens};
    compare(cat("prefill of ", tokens, " tokens"), tokens, sequence.prefill(prompt));
  };
  prefill(options.tokens);
  prefill(options.prompt);
  for (int n = options.prompt; n < options.tokens; ++n)
    compare(cat("step to token ", n + 1), n + 1, sequence.decode(ids[static_cast<std::size_t>(n)]));
  return report;
}
/// Of a model of its own starting values.
template <class Model>
GenerationReport check_generation(const GenerationOptions& options = {}) {
  const Weights<Model, float> weights = initialised<Model>(options.seed);
  return check_generation<Model>(weights, options);
}

}  // namespace lamina::testing
