#pragma once
#include <cfloat>

#include <lamina/kernel/cuda/logits/head_loss.hpp>
#include <lamina/kernel/cuda/matmul/matmul.cuh>

namespace lamina::kernel::cuda {

/// scales of head_loss with f16: {1/s, 0, 1/s, 1, s}, s the power of two that brings the largest weight into
/// [2^13, 2^14). One block.
template <int Threads>
__global__ void head_loss_scale(const float* weight, int rows, float* scales) {
  __shared__ float part[Threads / warp_size];
  float most = 0;
  for (int m = threadIdx.x; m < rows; m += Threads) most = fmaxf(most, fabsf(weight[m]));
  most = warp_max(most);
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = most;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (float p : part) most = fmaxf(most, p);
  const float scale = most >= FLT_MIN && most <= FLT_MAX ? ldexpf(1, min(13 - ilogbf(most), 126)) : 1.0f;
  scales[0] = scales[2] = 1 / scale;
  scales[1] = 0;
  scales[3] = 1;
  scales[4] = scale;
}

__device__ inline float exp2_fast(float x) {  // 2 ulp; below 2^-126 it is 0
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Of the logits seen: top, the largest, and sum of exp(z - largest), both to base 2. A NaN stays in the sum; -infinity
/// adds nothing.
struct OnlineSoftmax {
  float top = -1e38f, sum = 0;

  __device__ float exp_of(float z) const { return exp2_fast(fmaf(z, log2_e, -top)); }
  template <int N>
  __device__ void add(const float (&z)[N]) {
    float most = z[0];
    for (float v : z) most = fmaxf(most, v);
    rise(most * log2_e);
    float more = 0;
    for (float v : z) more += exp_of(v);
    sum += more;
  }
  __device__ void rise(float to) {
    if (to <= top) return;
    sum *= exp2_fast(top - to);
    top = to;
  }
  __device__ void merge(OnlineSoftmax other) {
    rise(other.top);
    sum += other.sum * exp2_fast(other.top - top);
  }
  __device__ float log_sum() const { return (top + log2f(sum)) * ln_2; }
};
template <int Threads>
__device__ OnlineSoftmax over_block(OnlineSoftmax mine) {
  __shared__ OnlineSoftmax part[Threads / warp_size];
  mine.rise(warp_max(mine.top));
  mine.sum = warp_sum(mine.sum);
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = mine;
  __syncthreads();
  OnlineSoftmax all = part[0];
  for (int w = 1; w < Threads / warp_size; ++w) all.merge(part[w]);
  return all;
}

/// Reads a row of logits once; its first `kept` pieces stay in shared memory.
template <class T, int Threads>
__device__ OnlineSoftmax read_logits(const T* z, int vocab, uint4* row_kept, int kept) {
  constexpr int size = piece_elements<T>, batch = 4;
  const int pieces = ceil_div(vocab, size);
  OnlineSoftmax mine;
  for (int first = threadIdx.x; first < pieces; first += batch * Threads) {
    uint4 raw[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (first + b * Threads < pieces) raw[b] = reinterpret_cast<const uint4*>(z)[first + b * Threads];
    }
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      const int piece = first + b * Threads;
      if (piece >= pieces) break;
      if (piece < kept) row_kept[piece] = raw[b];
      float v[size];
      load_piece(reinterpret_cast<const T*>(&raw[b]), v);
      for (int i = 0; piece == pieces - 1 && i < size; ++i) v[i] = piece * size + i < vocab ? v[i] : -INFINITY;
      mine.add(v);
    }
  }
  return mine;
}

/// The mean of a row of logits, in every thread of its block.
template <class T, int Threads>
__device__ float mean_logit(const T* z, int vocab) {
  float sum = 0;
  for (int v = threadIdx.x; v < vocab; v += Threads) sum += widen(z[v]);
  return block_sum<Threads>(sum) / vocab;
}

/// 1 if z[at] is the first of a row's largest logits, else 0; in every thread of its block.
template <class T, int Threads>
__device__ float is_largest(const T* z, int vocab, int at) {
  const float mine = widen(z[at]);
  int larger = 0;
  for (int v = threadIdx.x; v < vocab; v += Threads) larger |= widen(z[v]) > mine || (v < at && widen(z[v]) == mine);
  return __syncthreads_or(larger) ? 0 : 1;
}

/// The loss of a row of logits; with weight, the row becomes scale * weight times the loss's gradient, which for the
/// plain loss is softmax - onehot. One block a row, which keeps the row's first `kept` pieces in shared memory between
/// its two passes; the rest it reads again, from L2.
template <class T, int Threads>
__global__ void __launch_bounds__(Threads)
    softmax_loss(T* logits, std::ptrdiff_t stride, int vocab, const int* target, const float* weight,
                 const float* scale, float* nll, float* mean, float* hit, int kept, TokenLoss how) {
  constexpr int size = piece_elements<T>;
  extern __shared__ uint4 row_kept[];
  T* z = logits + blockIdx.x * stride;
  const OnlineSoftmax all = over_block<Threads>(read_logits<T, Threads>(z, vocab, row_kept, kept));
  const int at = target[blockIdx.x], pieces = ceil_div(vocab, size);
  const float plain = all.log_sum() - widen(z[at]), probability = how.by_probability ? expf(-plain) : 1.0f;
  const float mean_z = mean || how.smoothing > 0 ? mean_logit<T, Threads>(z, vocab) : 0;
  float loss = probability * plain;
  if (how.smoothing > 0) loss = (1 - how.smoothing) * plain + how.smoothing * (all.log_sum() - mean_z);
  if (threadIdx.x == 0) nll[blockIdx.x] = loss;
  if (threadIdx.x == 0 && mean) mean[blockIdx.x] = mean_z;
  if (hit) {
    const float largest = is_largest<T, Threads>(z, vocab, at);
    if (threadIdx.x == 0) hit[blockIdx.x] = largest;
  }
  if (!weight) return;
  __syncthreads();  // the row has been read
  const float factor = weight[blockIdx.x] * probability * (scale ? *scale : 1.0f), share = factor / all.sum,
              spread = factor * how.smoothing / vocab, at_target = factor * (1 - how.smoothing);
#pragma unroll 4
  for (int piece = threadIdx.x + (pieces - 1) / Threads * Threads; piece >= 0; piece -= Threads) {
    if (piece >= pieces) continue;
    const uint4 raw = piece < kept ? row_kept[piece] : reinterpret_cast<const uint4*>(z)[piece];
    float v[size];
    load_piece(reinterpret_cast<const T*>(&raw), v);
    for (int i = 0; i < size; ++i) v[i] = share * all.exp_of(v[i]) - spread;
    for (int i = 0; piece == at / size && i < size; ++i) v[i] -= i == at % size ? at_target : 0.0f;
    store_piece(z + piece * size, v);
  }
}

/// Shared memory that softmax_loss keeps a row in: most of what a multiprocessor has (227 KB on sm_90, 163 KB on
/// sm_80).
inline int softmax_kept_bytes(const CudaDevice& device) {
  return device.compute_capability() >= 90 ? 208 << 10 : device.compute_capability() == 80 ? 144 << 10 : 80 << 10;
}

template <int Threads, class T>
void launch_softmax_loss(Stream<Cuda> s, const Matrix<T>& z, const int* target, const float* weight, const float* scale,
                         float* nll, float* mean, float* hit, int kept_bytes, const TokenLoss& how) {
  const auto kernel = softmax_loss<T, Threads>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kept_bytes), "softmax_loss");
  kernel<<<z.rows, Threads, kept_bytes, s.handle>>>(z.data, z.stride, z.cols, target, weight, scale, nll, mean, hit,
                                                    kept_bytes / 16, how);
  check_launch("softmax_loss");
}
template <class T>
void softmax_loss_rows(Stream<Cuda> s, const Matrix<T>& z, const int* target, const float* weight, const float* scale,
                       float* nll, float* mean = nullptr, const TokenLoss& how = {}, float* hit = nullptr) {
  if (!weight) return launch_softmax_loss<512>(s, z, target, weight, scale, nll, mean, hit, 0, how);
  const int row_bytes = ceil_div(z.cols, piece_elements<T>) * 16;
  launch_softmax_loss<1024>(s, z, target, weight, scale, nll, mean, hit,
                            std::min(row_bytes, softmax_kept_bytes(*s.device)), how);
}

/// One chunk: its logits into z, its losses, and if asked for its gradients.
template <class T>
void head_loss_chunk(Stream<Cuda> s, const HeadLoss<T>& a, const Matrix<const T>& w, const Matrix<T>& z,
                     const float* scales) {
  multiply(s, Product<T, T>{.rows = z.rows,
                            .cols = z.cols,
                            .depth = w.cols,
                            .left = a.x.data,
                            .left_stride = a.x.stride,
                            .right = w.data,
                            .right_stride = w.stride,
                            .out = z.data,
                            .out_stride = z.stride});
  softmax_loss_rows(s, z, a.target, a.dx || a.dw ? a.weight : nullptr, scales ? scales + 4 : nullptr, a.nll,
                    a.mean_logit, a.loss, a.hit);
  if (a.dx)
    multiply(s, Product<T, T>{.rows = z.rows,
                              .cols = w.cols,
                              .depth = z.cols,
                              .left = z.data,
                              .left_stride = z.stride,
                              .right = w.data,
                              .right_stride = w.stride,
                              .right_by_depth = true,
                              .out = a.dx.data,
                              .out_stride = a.dx.stride,
                              .device_scale = scales});
  if (a.dw)
    multiply(s, Product<T, float>{.rows = z.cols,
                                  .cols = w.cols,
                                  .depth = z.rows,
                                  .left = z.data,
                                  .left_stride = z.stride,
                                  .left_by_depth = true,
                                  .right = a.x.data,
                                  .right_stride = a.x.stride,
                                  .right_by_depth = true,
                                  .out = a.dw.data,
                                  .out_stride = a.dw.stride,
                                  .beta = 1,
                                  .device_scale = scales ? scales + 2 : nullptr});
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::head_loss<lamina::Cuda>::run(Stream<Cuda> s, const HeadLoss<T>& a) {
  detail::expect_weight("head_loss", a.w);
  detail::expect_shape("head_loss", "x", a.x.rows, a.x.cols, a.x.rows, a.w.cols);
  if (a.dx) detail::expect_shape("head_loss", "dx", a.dx.rows, a.dx.cols, a.x.rows, a.x.cols);
  if (a.dw) detail::expect_shape("head_loss", "dw", a.dw.rows, a.dw.cols, a.w.rows, a.w.cols);
  if (a.x.rows == 0) return;
  Arena::Scope scope(*s.scratch);
  const Matrix<const T> w = cuda::weight_as<T>(s, a.w);
  const int chunk = chunk_rows<T>(a.x.rows, a.w.rows);
  const std::ptrdiff_t stride = logits_stride(a.w.rows);
  T* logits = s.scratch->take<T>(static_cast<std::size_t>(chunk) * stride);
  float* scales = nullptr;
  if (std::is_same_v<T, f16> && (a.dx || a.dw)) {
    scales = s.scratch->take<float>(scale_count);
    cuda::head_loss_scale<1024><<<1, 1024, 0, s.handle>>>(a.weight, a.x.rows, scales);
    cuda::check_launch("head_loss_scale");
  }
  for (int m = 0; m < a.x.rows; m += chunk) {
    const int rows = std::min(chunk, a.x.rows - m);
    HeadLoss<T> part = a;
    part.x = a.x.row_range(m, rows), part.dx = a.dx.row_range(m, rows);
    part.target += m, part.nll += m;
    if (a.weight) part.weight += m;
    if (a.mean_logit) part.mean_logit += m;
    if (a.hit) part.hit += m;
    cuda::head_loss_chunk(s, part, w, Matrix<T>(logits, rows, a.w.rows, stride), scales);
  }
}
