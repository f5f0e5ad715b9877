#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/logits/preference.hpp>

namespace lamina::kernel::cuda {

inline constexpr int answer_threads = 128;

/// The sum over a block, in double, in a fixed order; in every thread.
__device__ inline double answer_sum(double x) {
  __shared__ double part[answer_threads];
  part[threadIdx.x] = x;
  for (int half = answer_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  __syncthreads();
  const double sum = part[0];
  __syncthreads();  // the next call writes part again
  return sum;
}

/// A block per sequence.
static __global__ void __launch_bounds__(answer_threads) score_answers(WeighAnswers a) {
  const JudgedSequence own = a.sequences[blockIdx.x];
  double model = 0, reference = 0;
  for (int m = own.first_row + threadIdx.x; m < own.first_row + own.rows; m += answer_threads) {
    model -= a.nll[m];
    if (a.reference) reference -= a.reference[m];
  }
  model = answer_sum(model), reference = answer_sum(reference);
  if (threadIdx.x == 0) a.scores[blockIdx.x] = {model, reference};
}

/// The same, after all scores are known.
static __global__ void __launch_bounds__(answer_threads) weigh_answers(WeighAnswers a) {
  const JudgedSequence own = a.sequences[blockIdx.x];
  __shared__ double slope;
  if (threadIdx.x == 0) slope = answer_loss(a.loss, a.sequences, a.scores, blockIdx.x).slope;
  __syncthreads();
  for (int m = own.first_row + threadIdx.x; m < own.first_row + own.rows; m += answer_threads)
    a.weight[m] = static_cast<float>(-slope * a.share[m]);
}

}  // namespace lamina::kernel::cuda

[[gnu::used]] inline void lamina::kernel::preference<lamina::Cuda>::weigh(Stream<Cuda> s, const WeighAnswers& a) {
  if (a.count == 0) return;
  cuda::score_answers<<<a.count, cuda::answer_threads, 0, s.handle>>>(a);
  cuda::check_launch("score_answers");
  cuda::weigh_answers<<<a.count, cuda::answer_threads, 0, s.handle>>>(a);
  cuda::check_launch("weigh_answers");
}
