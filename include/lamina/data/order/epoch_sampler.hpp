#pragma once
#include <lamina/core/error.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace lamina::data {

/// torch.randperm(n) of a CPU generator, or of one with this seed: PyTorch's generator is the standard's mt19937, and
/// below 2^32 / 20 its shuffle draws one 32-bit number per step. source  PyTorch,
/// aten/src/ATen/native/TensorFactories.cpp, randperm_cpu
inline std::vector<int> torch_randperm(int n, std::mt19937& generator) {
  if (n < 0 || n >= INT64_C(0xffffffff) / 20) fail("shuffle: ", n, " samples, at most 214 million can be shuffled");
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (int i = 0; i + 1 < n; ++i) std::swap(order[i], order[i + generator() % static_cast<std::uint32_t>(n - i)]);
  return order;
}

inline std::vector<int> torch_randperm(int n, std::uint64_t seed) {
  std::mt19937 generator(static_cast<std::uint32_t>(seed));
  return torch_randperm(n, generator);
}

/// The order of an epoch in which samples of like length are neighbours: a random order is cut into pieces of many
/// batches, each sorted from long to short, and the longest sample of all goes first. A batch is `batch` samples, those
/// of a step. The order is drawn from one generator epoch after epoch; beginning an epoch takes two numbers from it.
/// source  transformers 5.6, trainer_pt_utils.py, get_length_grouped_indices; torch, DataLoader's base seed
inline std::vector<int> grouped_by_length(const std::vector<int>& lengths, std::int64_t batch, std::uint64_t seed,
                                          std::int64_t epoch) {
  const auto n = static_cast<int>(lengths.size());
  std::mt19937 generator(static_cast<std::uint32_t>(seed));
  const auto per_epoch = static_cast<unsigned long long>(2 + std::max(0, n - 1));
  generator.discard(static_cast<unsigned long long>(epoch) * per_epoch + 2);
  std::vector<int> order = torch_randperm(n, generator);
  const std::int64_t piece = std::clamp<std::int64_t>(n / (batch * 4), 1, 50) * batch;
  std::int64_t longest = 0;  // where the piece begins whose first sample is the longest
  for (std::int64_t first = 0; first < n; first += piece) {
    const auto begin = order.begin() + first, end = order.begin() + std::min<std::int64_t>(first + piece, n);
    std::stable_sort(begin, end, [&](int a, int b) { return lengths[a] > lengths[b]; });
    if (lengths[order[first]] > lengths[order[longest]]) longest = first;
  }
  std::swap(order[0], order[longest]);
  return order;
}

/// The position of a run in its data: all that a checkpoint stores, and all that is needed to continue.
struct Position {
  std::int64_t epoch = 0;
  std::int64_t window = 0;  ///< optimizer steps done in this epoch
  bool operator==(const Position&) const = default;
};

/// The number of batches of so many rows: the last batch may be smaller, or, with drop_last, is left out. `batch` is
/// the number of rows that all ranks take at once. Error if no batch is left.
/// source  torch, BatchSampler; accelerate, data_loader.py, BatchSamplerShard
inline std::int64_t batches_of(std::int64_t rows, std::int64_t batch, bool drop_last) {
  if (drop_last && rows < batch)
    fail("dataloader_drop_last: ", rows, " rows do not fill the one batch of ", batch,
         " that all processes take together, so that nothing is left: set it to false, or make batches smaller");
  return drop_last ? rows / batch : (rows + batch - 1) / batch;
}

/// Settings of the order of samples, under the names of the training arguments.
struct SamplerOptions {
  int sample_count = 0;
  int per_device_train_batch_size = 1, gradient_accumulation_steps = 1;
  std::uint64_t seed = 42;
  bool disable_shuffling = false;
  std::vector<int> lengths = {};      ///< (sample_count) of the samples, to group them by; empty: they are not grouped
  bool dataloader_drop_last = false;  ///< leave out the samples of an epoch that do not fill a micro-batch of each rank
  int rank = 0, ranks = 1;            ///< processes that share each window
  std::vector<std::int64_t> costs = {};  ///< (sample_count) what a sample costs, in any unit; empty: all cost the same
};

/// Deals sample numbers into micro-batches and accumulation windows; one window is one optimizer step. Epoch e has the
/// order torch_randperm(N, seed + e), or groups the samples by length; the last micro-batch and the last window of an
/// epoch may be smaller; with dataloader_drop_last all micro-batches are whole.
///
/// Several ranks share the micro-batches of a window, as many each. All are whole ones: what the last of an epoch lack
/// are the epoch's first samples once more, or, with dataloader_drop_last, those that lack some are left out. With
/// accelerate the ranks get them in turn. Here, since a step waits for the slowest rank, the dearest goes to the rank
/// that has least, which changes no sum over ranks.
/// source  accelerate, data_loader.py, BatchSamplerShard with even_batches; Graham 1969, "Bounds on multiprocessing
///         timing anomalies"
class EpochSampler {
 public:
  explicit EpochSampler(const SamplerOptions& options) : options_(options) {
    if (options.sample_count < 1) fail("data: no sample to train on");
    if (options.per_device_train_batch_size < 1) fail("per_device_train_batch_size: must be at least 1");
    if (options.gradient_accumulation_steps < 1) fail("gradient_accumulation_steps: must be at least 1");
    if (options.rank < 0 || options.rank >= options.ranks)
      fail("data: rank ", options.rank, " of ", options.ranks, " does not exist");
    micro_batches();  // Error if there is none
  }

  /// ceil(M / accumulation), M = batches_of(N, batch * ranks)
  std::int64_t windows_per_epoch() const { return ceil_div(micro_batches(), options_.gradient_accumulation_steps); }

  /// The micro-batches of the window at the position, each a list of sample numbers.
  std::vector<std::vector<int>> window_at(Position at) {
    if (at.epoch < 0 || at.window < 0 || at.window >= windows_per_epoch()) {
      fail("data position: window ", at.window, " of epoch ", at.epoch, " does not exist, an epoch has ",
           windows_per_epoch(), ": the data set or the batch size changed since the checkpoint");
    }
    order_for(at.epoch);
    std::vector<std::vector<int>> window;
    const std::int64_t first = at.window * options_.gradient_accumulation_steps;
    const std::int64_t last = std::min<std::int64_t>(first + options_.gradient_accumulation_steps, micro_batches());
    for (std::int64_t m = first * options_.ranks; m < last * options_.ranks; ++m) {
      const std::int64_t begin = m * options_.per_device_train_batch_size;
      const std::int64_t end = begin + options_.per_device_train_batch_size;
      window.emplace_back(order_.begin() + begin, order_.begin() + std::min<std::int64_t>(end, order_.size()));
    }
    return options_.ranks == 1 ? window : own_share(window);
  }

  /// The position after this one.
  Position after(Position at) const {
    if (++at.window >= windows_per_epoch()) ++at.epoch, at.window = 0;
    return at;
  }
  /// The position after `steps` optimizer steps.
  Position at_step(std::int64_t steps) const { return {steps / windows_per_epoch(), steps % windows_per_epoch()}; }

 private:
  /// This rank's micro-batches of a window, in the window's order.
  std::vector<std::vector<int>> own_share(const std::vector<std::vector<int>>& window) const {
    const auto ranks = static_cast<std::size_t>(options_.ranks), each = window.size() / ranks;
    std::vector<std::size_t> dearest_first(window.size());
    std::iota(dearest_first.begin(), dearest_first.end(), std::size_t{0});
    std::vector<std::int64_t> costs(window.size()), loads(ranks);
    for (std::size_t m = 0; m < window.size(); ++m) costs[m] = cost(window[m]);
    std::stable_sort(dearest_first.begin(), dearest_first.end(),
                     [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
    std::vector<std::vector<std::size_t>> shares(ranks);
    for (const std::size_t m : dearest_first) {
      std::size_t least = ranks;
      for (std::size_t r = 0; r < ranks; ++r)
        if (shares[r].size() < each && (least == ranks || loads[r] < loads[least])) least = r;
      shares[least].push_back(m);
      loads[least] += costs[m];
    }
    std::vector<std::size_t>& mine = shares[static_cast<std::size_t>(options_.rank)];
    std::sort(mine.begin(), mine.end());
    std::vector<std::vector<int>> own;
    for (const std::size_t m : mine) own.push_back(window[m]);
    return own;
  }
  std::int64_t cost(const std::vector<int>& micro_batch) const {
    std::int64_t sum = 0;
    for (const int sample : micro_batch)
      sum += options_.costs.empty() ? 1 : options_.costs[static_cast<std::size_t>(sample)];
    return sum;
  }
  static std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
  std::int64_t shared_batch() const { return std::int64_t{options_.per_device_train_batch_size} * options_.ranks; }
  std::int64_t micro_batches() const {
    return batches_of(options_.sample_count, shared_batch(), options_.dataloader_drop_last);
  }
  void order_for(std::int64_t epoch) {
    if (epoch == epoch_) return;
    epoch_ = epoch;
    if (!options_.lengths.empty()) {
      const std::int64_t step =
          std::int64_t{options_.per_device_train_batch_size} * options_.gradient_accumulation_steps;
      order_ = grouped_by_length(options_.lengths, step, options_.seed, epoch);
    } else if (!options_.disable_shuffling) {
      order_ = torch_randperm(options_.sample_count, options_.seed + static_cast<std::uint64_t>(epoch));
    } else {
      order_.resize(options_.sample_count);
      std::iota(order_.begin(), order_.end(), 0);
    }
    if (options_.ranks == 1) return;
    const std::int64_t first = std::min<std::int64_t>(options_.sample_count, shared_batch());
    for (std::int64_t i = 0; std::ssize(order_) < micro_batches() * shared_batch(); ++i)
      order_.push_back(order_[static_cast<std::size_t>(i % first)]);
  }

  SamplerOptions options_;
  std::int64_t epoch_ = -1;  // of order_
  std::vector<int> order_;
};

}  // namespace lamina::data
