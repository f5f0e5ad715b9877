#pragma once
#include <type_traits>

#include <lamina/core/random/philox.hpp>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/logits/logit_row.cuh>
#include <lamina/kernel/cuda/logits/sample.hpp>

/// Tokens of many sequences, each by its own rule: one block per row of logits, with helpers that find the best of
/// their share of the tiles if there are few rows. Where the best logits cannot be sorted because too many are equal,
/// or the wanted mass is not among them, the place is found by bisection of the logits' bits instead, which is slower
/// and needs no order.
namespace lamina::kernel::cuda {

/// A place and the sum of weights up to and with it.
struct Counted {
  int place;
  Ranked sum;
};

struct SampleShared : RowShared {
  Ranked sum[most_sorted];  ///< of the weights of `sorted` up to a place
  Ranked found;
  Counted place;
};

/// A row of logits, and how a token is drawn from it.
template <class T>
struct SampleRow : LogitRow<T> {
  SamplingRule rule;
  SampleOrder order;
  int chosen;
  SampleShared& shared;

  __device__ SampleRow(const LogitRow<T>& row, const SamplingRule& rule, int chosen, SampleShared& shared)
      : LogitRow<T>(row), rule(rule), order(order_of(rule)), chosen(chosen), shared(shared) {}
  __device__ Ranked weight(float largest, float x, int place = 0) const {
    return kernel::detail::sample_weight(rule, order, x - largest, place);
  }

  /// What the draw looks for in a sum of `mass`.
  __device__ Ranked target(Ranked mass) const {
    const double u = uniform(rule.seed, rule.stream, static_cast<std::uint64_t>(chosen));
    return kernel::detail::sample_target(u, mass);
  }

  /// The first id, in rising order, at which the sum of f(id, logit) exceeds target.
  template <class F>
  __device__ int find_by_id(Ranked target, F f) const {
    this->reduce_tiles(f, [](Ranked a, Ranked b) { return a + b; });
    const Ranked own = threadIdx.x < this->tiles ? shared.tile[threadIdx.x] : 0, through = row_prefix(shared, own);
    if (through - own <= target && target < through) {
      shared.count = threadIdx.x;
      shared.found = through - own;
    }
    __syncthreads();
    if (threadIdx.x < warp_size) {
      Ranked lane = 0;
      this->each_of_tile(shared.count, [&](int id, float x) { lane += f(id, x); });
      Ranked sum = shared.found + warp_prefix(lane) - lane;
      this->each_of_tile(shared.count, [&](int id, float x) {
        const Ranked before = sum;
        sum += f(id, x);
        if (before <= target && target < sum) shared.place.place = id;
      });
    }
    __syncthreads();
    return shared.place.place;
  }
};

/// The first of `count` sorted places whose sum of weights is above target; place -1 if none is.
__device__ inline Counted find_sorted(SampleShared& shared, int count, Ranked target) {
  if (threadIdx.x == 0) shared.place = {-1, 0};
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += choice_threads)
    if (shared.sum[i] > target && (i == 0 || shared.sum[i - 1] <= target)) shared.place = {i, shared.sum[i]};
  __syncthreads();
  const Counted place = shared.place;
  __syncthreads();
  return place;
}

/// A token by falling probability from the best logits alone; -1 if they do not settle it.
template <class T>
__device__ int draw_of_sorted(const SampleRow<T>& row, float largest, int count) {
  SampleShared& shared = row.shared;
  const bool cut = row.rule.top_k > 0;  // then every token that weighs anything is among the sorted ones
  if (cut) count = min(count, row.rule.top_k);
  Ranked before = 0;
  for (int first = 0; first < count; first += choice_threads) {
    const int i = first + threadIdx.x;
    const Ranked w = i < count ? row.weight(largest, logit_of(shared.sorted[i]), i) : 0;
    const Ranked through = before + row_prefix(shared, w);
    if (i < count) shared.sum[i] = through;
    __syncthreads();
    before = shared.sum[min(first + choice_threads, count) - 1];
  }
  Ranked mass = before;
  if (!cut) {
    Ranked own = 0;
    row.each([&](int, float x) { own += row.weight(largest, x); });
    mass = row_total(shared, own);
  }
  const Counted nucleus = find_sorted(shared, count, kernel::detail::nucleus_mass(row.rule, mass) - 1);
  if (nucleus.place < 0) return -1;
  const Counted drawn = find_sorted(shared, count, row.target(nucleus.sum));
  return id_of(shared.sorted[drawn.place]);
}

/// The same by bisection. `key` is a logit's upper half of Ranked; of tokens with equal keys the lower ids come first.
template <class T>
struct SampleBisection {
  const SampleRow<T>& row;
  float largest;
  /// Of a key: the last bits of fp32's mantissa, which T has not. Two keys that differ do so above them.
  static constexpr int unused_bits = std::is_same_v<T, bf16> ? 16 : std::is_same_v<T, f16> ? 13 : 0;
  unsigned last_key = 0;  ///< of the last token that top_k leaves
  Ranked last_ties = 0;   ///< how many tokens of that key it leaves

  __device__ static unsigned key(float x) {
    return static_cast<unsigned>(ranked(x, 0) >> 32) >> unused_bits << unused_bits;
  }
  __device__ float logit(unsigned key) const {
    return logit_of(Ranked{key >> 31 ? key : key | ((1u << unused_bits) - 1)} << 32);
  }
  /// The largest key for which f(key) > target; f falls.
  template <class F>
  __device__ unsigned bisect(Ranked target, F f) const {
    unsigned found = 0;
    for (int bit = 31; bit >= unused_bits; --bit)
      if (f(found | 1u << bit) > target) found |= 1u << bit;
    return found;
  }
  __device__ Ranked count(unsigned least) const {
    Ranked own = 0;
    row.each([&](int, float x) { own += key(x) >= least; });
    return row_total(row.shared, own);
  }
  __device__ Ranked mass(unsigned least) const {
    Ranked own = 0;
    row.each([&](int, float x) {
      const unsigned k = key(x);
      if (k >= least && k > last_key) own += row.weight(largest, x);
    });
    const Ranked sum = row_total(row.shared, own);
    return least <= last_key ? sum + last_ties * row.weight(largest, logit(last_key)) : sum;
  }
  __device__ void cut_to(int k) {
    last_key = bisect(static_cast<Ranked>(k) - 1, [&](unsigned least) { return count(least); });
    last_ties = k - count(last_key + (1u << unused_bits));
  }
  /// Key and number among equal keys of the first place whose sum is above target, and that sum.
  struct Place {
    unsigned key;
    Ranked tie, sum;
  };
  __device__ Place find(Ranked target) const {
    const unsigned k = bisect(target, [&](unsigned least) { return mass(least); });
    const Ranked before = mass(k + (1u << unused_bits)), each = row.weight(largest, logit(k));
    const Ranked tie = (target - before) / each;
    return {k, tie, before + (tie + 1) * each};
  }
  __device__ int draw() {
    if (row.rule.top_k > 0 && row.rule.top_k < row.vocab) cut_to(row.rule.top_k);
    const Place nucleus = find(kernel::detail::nucleus_mass(row.rule, mass(0)) - 1);
    const Place drawn = find(row.target(nucleus.sum));
    return row.find_by_id(drawn.tie, [&](int, float x) { return Ranked{key(x) == drawn.key}; });
  }
};

template <class T>
__device__ int draw_token(SampleRow<T> row) {
  row.find_best_of_tiles();
  if (row.share > 0) return SampleRows<T>::not_finite;
  const Ranked best = row.best_of_tiles();
  if (best == not_finite) return SampleRows<T>::not_finite;
  const float largest = logit_of(best);
  if (largest == -INFINITY) return SampleRows<T>::none_left;
  if (row.order == SampleOrder::best_alone) return id_of(best);
  if (row.order == SampleOrder::by_id) {
    Ranked own = 0;
    row.each([&](int, float x) { own += row.weight(largest, x); });
    const Ranked mass = row_total(row.shared, own);
    return row.find_by_id(row.target(mass), [&](int, float x) { return row.weight(largest, x); });
  }
  const int k = row.rule.top_k > 0 ? min(row.rule.top_k, row.vocab) : max(1, row.tiles / 2);
  if (const int count = k <= row.tiles ? sort_best(row, k) : 0)
    if (const int id = draw_of_sorted(row, largest, count); id >= 0) return id;
  return SampleBisection<T>{row, largest}.draw();
}

template <class T>
__global__ void __launch_bounds__(choice_threads) sample_rows_fwd(SampleRows<T> a, int shares) {
  __shared__ SampleShared shared;
  const int s = blockIdx.x / shares, share = blockIdx.x % shares, to = a.rows[s], vocab = a.logits.cols;
  int id = -1;
  if (to >= 0) {
    const int source = a.source(s);
    const auto draw = [&]<class E>(const E* logits) {
      const LogitRow<E> row{logits, vocab, source >= 0, shared, share, shares};
      return draw_token(SampleRow<E>(row, a.rules[s], a.chosen[s], shared));
    };
    id = source < 0 ? draw(a.logits.row(s)) : draw(a.adjusted.row(source));
  }
  if (threadIdx.x != 0 || share > 0) return;
  a.told[s] = id;
  if (to >= 0) a.newest[to] = max(id, -1);
}

/// As many as find room at the same time: large clusters leave gaps.
inline int blocks_per_row(const CudaDevice& device, int rows) {
  if (device.compute_capability() != 90) return 1;
  for (const int shares : {8, 4})
    if (rows * shares <= device.multiprocessors() * 3 / 4) return shares;
  return 2 * rows <= device.multiprocessors() ? 2 : 1;
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::sample<lamina::Cuda>::rows(Stream<Cuda> s, const SampleRows<T>& a) {
  if (a.logits.rows == 0) return;
  if (a.logits.cols > cuda::most_tiles * cuda::tile_ids)
    fail("sample: ", a.logits.cols, " logits per row; the kernel takes ", cuda::most_tiles * cuda::tile_ids);
  // an ordinary launch, because it may follow a recorded graph
  const int shares = cuda::blocks_per_row(*s.device, a.logits.rows);
  cuda::launch(s, cuda::sample_rows_fwd<T>,
               {.grid = dim3(a.logits.rows * shares),
                .threads = dim3(cuda::choice_threads),
                .cluster = shares,
                .dependent = false},
               a, shares);
  cuda::check_launch("sample_rows_fwd");
}
