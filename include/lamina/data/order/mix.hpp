#pragma once
#include <lamina/core/error.hpp>
#include <lamina/core/random/numpy.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/io/program/usage.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>
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
    io::usage("mix_strategy: ", name, " is unknown", io::did_you_mean(name, known), "; known are ", io::listed(known));
  }
  return static_cast<MixStrategy>(found - known.begin());
}

/// Names a record by its data set and its place there.
struct MixedRow {
  int dataset = 0, row = 0;
  bool operator==(const MixedRow&) const = default;
};

namespace detail {

/// Which data set the next record comes from: in turn, or drawn by the probabilities.
class Dealer {
 public:
  Dealer(int count, const std::vector<double>& probabilities, std::uint64_t seed) : count_(count) {
    if (!probabilities.empty()) choice_.emplace(probabilities, seed);
  }
  int next() { return choice_ ? choice_->next() : turn_++ % count_; }

 private:
  int count_, turn_ = 0;
  std::optional<NumpyWeightedChoice> choice_;
};

inline void check_probabilities(MixStrategy strategy, std::size_t datasets, const std::vector<double>& probabilities) {
  if (probabilities.empty()) return;
  if (strategy == MixStrategy::concat)
    io::usage("interleave_probs: only with an interleaving mix_strategy, not with concat");
  if (probabilities.size() != datasets) {
    io::usage("interleave_probs: ", probabilities.size(), " numbers for ", datasets, " data sets");
  }
  double sum = 0;
  for (const double p : probabilities) {
    if (!(p > 0)) io::usage("interleave_probs: ", p, " is not positive");
    sum += p;
  }
  constexpr double numpy_tolerance = 0x1p-26;  // the square root of a double's epsilon
  if (std::abs(sum - 1) > numpy_tolerance) io::usage("interleave_probs: they add up to ", sum, ", not to 1");
}

inline std::vector<MixedRow> concatenated(const std::vector<int>& lengths) {
  std::vector<MixedRow> picks;
  for (int d = 0; d < static_cast<int>(lengths.size()); ++d) {
    for (int row = 0; row < lengths[d]; ++row) picks.push_back({d, row});
  }
  return picks;
}

/// Whole rounds: every data set gives one record per round, the shorter ones starting again.
inline std::vector<MixedRow> rounds(const std::vector<int>& lengths, int count) {
  std::vector<MixedRow> picks;
  for (int round = 0; round < count; ++round) {
    for (int d = 0; d < static_cast<int>(lengths.size()); ++d) picks.push_back({d, round % lengths[d]});
  }
  return picks;
}

}  // namespace detail

/// The order in which the records of several data sets are used: that of LLaMA-Factory.
/// source  datasets, arrow_dataset.py (_interleave_map_style_datasets); interleave_once is there since 4.2
inline std::vector<MixedRow> mix(MixStrategy strategy, const std::vector<int>& lengths,
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
  std::vector<MixedRow> picks;
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

/// `wanted` of `count` records at random, each once before any twice. One generator serves all entries of a run, in the
/// order of the entries. source  LLaMA-Factory, data/loader.py
inline std::vector<int> sample_rows(int count, std::int64_t wanted, NumpyRandomState& random) {
  std::vector<int> rows = random.permutation(count);
  if (wanted < count) rows.resize(static_cast<std::size_t>(wanted));
  while (static_cast<std::int64_t>(rows.size()) < wanted) rows.push_back(random.choice(count));
  return rows;
}

/// The records of a split, in the order of their use.
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

/// Takes the validation records out: p[:t] of a permutation p, and trains on p[t:]. Without val_size all train, in the
/// order of the data. source  datasets, arrow_dataset.py (train_test_split)
inline SplitRows split_rows(int n, double val_size, std::uint64_t seed) {
  SplitRows split;
  const int held_out = validation_count(val_size, n);
  if (held_out == 0) {
    split.train.resize(static_cast<std::size_t>(n));
    std::iota(split.train.begin(), split.train.end(), 0);
    return split;
  }
  const std::vector<int> order = NumpyGenerator(seed).permutation(n);
  split.validation.assign(order.begin(), order.begin() + held_out);
  split.train.assign(order.begin() + held_out, order.end());
  return split;
}

}  // namespace lamina::data
