#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/logits/logit_row.cuh>
#include <lamina/kernel/cuda/logits/logprobs.hpp>

namespace lamina::kernel::cuda {

/// The k best logits in falling order, one after the other: for rows in which too many are equal to be sorted.
template <class T, class Take>
__device__ void pick_best(const LogitRow<T>& row, int k, Take take) {
  Ranked last = not_finite;
  for (int i = 0; i < k; ++i) {
    Ranked own = 0;
    row.each([&](int id, float x) {
      const Ranked r = ranked(x, id);
      if (r < last && r > own) own = r;
    });
    last = row_best(row.shared, own);
    if (threadIdx.x == 0) take(i, last);
  }
}

/// One block per row.
template <class T>
__global__ void __launch_bounds__(choice_threads) logprobs_fwd(Logprobs<T> a) {
  __shared__ RowShared shared;
  const int s = blockIdx.x;
  if (a.alternatives[s] < 0) return;
  const LogitRow<T> row{a.logits.row(s), a.logits.cols, false, shared};
  RowLogprobs& out = a.out[s];
  row.find_best_of_tiles();
  const Ranked best = row.best_of_tiles();
  if (best == not_finite) {
    if (threadIdx.x == 0) out.log_sum = NAN;
    return;
  }
  const int token = a.token(s);
  const float largest = logit_of(best), logit = token < 0 ? INFINITY : widen(row.logits[token]);
  float sum = 0;
  Ranked larger = 0;
  row.each([&](int, float x) { sum += expf(x - largest), larger += x > logit; });
  sum = block_sum<choice_threads>(sum), larger = row_total(shared, larger);
  if (threadIdx.x == 0) {
    out.log_sum = largest + log(double{sum});
    out.logit = token < 0 ? 0 : logit, out.rank = token < 0 ? 0 : 1 + static_cast<int>(larger);
  }
  const auto take = [&](int i, Ranked r) { out.ids[i] = id_of(r), out.logits[i] = logit_of(r); };
  const int k = min(a.alternatives[s], row.vocab), sorted = k > 0 && k <= row.tiles ? sort_best(row, k) : 0;
  if (sorted == 0) return pick_best(row, k, take);
  if (threadIdx.x < k) take(threadIdx.x, shared.sorted[threadIdx.x]);
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::logprobs<lamina::Cuda>::rows(Stream<Cuda> s, const Logprobs<T>& a) {
  if (a.logits.rows == 0) return;
  if (a.logits.cols > cuda::most_tiles * cuda::tile_ids)
    fail("logprobs: ", a.logits.cols, " logits per row; the kernel takes ", cuda::most_tiles * cuda::tile_ids);
  cuda::logprobs_fwd<T><<<a.logits.rows, cuda::choice_threads, 0, s.handle>>>(a);
  cuda::check_launch("logprobs_fwd");
}
