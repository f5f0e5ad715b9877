#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/sampler.hpp>
#include <lamina/data/suggest.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace lamina::data {

/// How several data sets become one: in the listed order, or dealt in turn until the first is exhausted (under), until
/// all were exhausted, the shorter ones starting again (over), or until all are, none twice (once).
enum class MixStrategy { concat, interleave_under, interleave_over, interleave_once };

inline MixStrategy mix_strategy_named(const std::string& name) {
  const std::vector<std::string> known = {"concat", "interleave_under", "interleave_over", "interleave_once"};
  const auto found = std::find(known.begin(), known.end(), name);
  if (found == known.end()) {
    fail("mix_strategy: ", name, " is unknown", did_you_mean(name, known), "; known are ", listed(known, known.size()));
  }
  return static_cast<MixStrategy>(found - known.begin());
}

/// Names a record by its data set and its place there.
struct Pick {
  int dataset = 0, row = 0;
  bool operator==(const Pick&) const = default;
};

namespace detail {

/// A number in [0, 1) with 53 random bits.
inline double unit_random(std::mt19937_64& generator) { return static_cast<double>(generator() >> 11) * 0x1p-53; }

/// Which data set the next record comes from: in turn, or drawn by the probabilities.
class Dealer {
 public:
  Dealer(int count, const std::vector<double>& probabilities, std::uint64_t seed)
      : count_(count), cumulative_(probabilities.size()), generator_(seed) {
    std::partial_sum(probabilities.begin(), probabilities.end(), cumulative_.begin());
  }
  int next() {
    if (cumulative_.empty()) return turn_++ % count_;
    const double drawn = unit_random(generator_) * cumulative_.back();
    const auto above = std::upper_bound(cumulative_.begin(), cumulative_.end(), drawn);
    return static_cast<int>(std::min(above, cumulative_.end() - 1) - cumulative_.begin());
  }

 private:
  int count_, turn_ = 0;
  std::vector<double> cumulative_;
  std::mt19937_64 generator_;
};

inline void check_probabilities(MixStrategy strategy, std::size_t datasets, const std::vector<double>& probabilities) {
  if (probabilities.empty()) return;
  if (strategy == MixStrategy::concat)
    fail("interleave_probs: only with an interleaving mix_strategy, not with concat");
  if (probabilities.size() != datasets) {
    fail("interleave_probs: ", probabilities.size(), " numbers for ", datasets, " data sets");
  }
  double sum = 0;
  for (const double p : probabilities) {
    if (!(p > 0)) fail("interleave_probs: ", p, " is not positive");
    sum += p;
  }
  if (std::abs(sum - 1) > 1e-6) fail("interleave_probs: they add up to ", sum, ", not to 1");
}

inline std::vector<Pick> concatenated(const std::vector<int>& lengths) {
  std::vector<Pick> picks;
  for (int d = 0; d < static_cast<int>(lengths.size()); ++d) {
    for (int row = 0; row < lengths[d]; ++row) picks.push_back({d, row});
  }
  return picks;
}

/// Whole rounds: every data set gives one record a round, the shorter ones starting again.
inline std::vector<Pick> rounds(const std::vector<int>& lengths, int count) {
  std::vector<Pick> picks;
  for (int round = 0; round < count; ++round) {
    for (int d = 0; d < static_cast<int>(lengths.size()); ++d) picks.push_back({d, round % lengths[d]});
  }
  return picks;
}

}  // namespace detail

/// The order in which the records of several data sets are used. Without probabilities it is that of LLaMA-Factory (the
/// `datasets` library); with them, data sets are drawn by std::mt19937_64(seed), which is not numpy's sequence.
inline std::vector<Pick> mix(MixStrategy strategy, const std::vector<int>& lengths,
                             const std::vector<double>& probabilities, std::uint64_t seed) {
  detail::check_probabilities(strategy, lengths.size(), probabilities);
  if (strategy == MixStrategy::concat || lengths.size() == 1) return detail::concatenated(lengths);
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  if (*shortest == 0) fail("mix_strategy: a data set without records cannot be interleaved");
  if (probabilities.empty() && strategy == MixStrategy::interleave_under) return detail::rounds(lengths, *shortest);
  if (probabilities.empty() && strategy == MixStrategy::interleave_over) return detail::rounds(lengths, *longest);
  detail::Dealer dealer(static_cast<int>(lengths.size()), probabilities, seed);
  std::vector<int> at(lengths.size(), 0);
  std::vector<bool> exhausted(lengths.size(), false);
  std::vector<Pick> picks;
  const std::size_t enough = strategy == MixStrategy::interleave_under ? 1 : lengths.size();
  for (std::size_t ended = 0; ended < enough;) {
    const int d = dealer.next();
    if (strategy == MixStrategy::interleave_once && exhausted[d]) continue;
    picks.push_back({d, at[d]});
    if (++at[d] == lengths[d]) {
      at[d] = 0;
      if (!exhausted[d]) exhausted[d] = true, ++ended;
    }
  }
  return picks;
}

/// `wanted` of `count` records at random: the first of torch_randperm(count, seed); beyond count, drawn again one by
/// one.
inline std::vector<int> sample_rows(int count, std::int64_t wanted, std::uint64_t seed) {
  std::vector<int> rows = torch_randperm(count, seed);
  std::mt19937_64 generator(seed);
  while (static_cast<std::int64_t>(rows.size()) < wanted && count > 0) {
    rows.push_back(static_cast<int>(generator() % static_cast<std::uint64_t>(count)));
  }
  rows.resize(std::min<std::size_t>(rows.size(), wanted));
  return rows;
}

/// The records of a split, each list in the order of the data.
struct SplitRows {
  std::vector<int> train, validation;
};

/// How many of n records val_size takes: a count above 1, or a fraction below 1 (rounded up).
inline int validation_count(double val_size, int n) {
  if (val_size == 0) return 0;
  if (!(val_size > 0) || val_size == 1) {
    fail("val_size: ", val_size, " is neither a fraction between 0 and 1 nor a count of at least 2");
  }
  const double count = val_size > 1 ? std::floor(val_size) : std::ceil(val_size * n);
  if (count >= n) fail("val_size: ", val_size, " takes ", count, " of ", n, " records, and none is left to train on");
  return static_cast<int>(count);
}

/// Takes the validation records out: the first of torch_randperm(n, seed), then both lists in the order of the data.
/// (LLaMA-Factory draws by numpy's generator, so the same seed holds out other records there.)
inline SplitRows split_rows(int n, double val_size, std::uint64_t seed) {
  const int held_out = validation_count(val_size, n);
  std::vector<bool> validates(n, false);
  if (held_out > 0) {
    const std::vector<int> order = torch_randperm(n, seed);
    for (int i = 0; i < held_out; ++i) validates[order[i]] = true;
  }
  SplitRows split;
  for (int i = 0; i < n; ++i) (validates[i] ? split.validation : split.train).push_back(i);
  return split;
}

}  // namespace lamina::data
