#pragma once
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/rows/route.hpp>

namespace lamina::kernel::cuda {

inline constexpr int route_warps = 4;  ///< rows of a block

/// This warp's row of a block, and room for its probabilities: route_warps * n floats of shared memory.
struct RouteRow {
  int row, lane, n;
  float* p;
  __device__ RouteRow(float* shared, int experts)
      : row(static_cast<int>(blockIdx.x) * route_warps + static_cast<int>(threadIdx.x) / warp_size),
        lane(static_cast<int>(threadIdx.x) % warp_size),
        n(experts),
        p(shared + static_cast<int>(threadIdx.x) / warp_size * experts) {}
  /// Fills p with the softmax of the row's logits.
  template <class T>
  __device__ void softmax(const T* logits) const {
    float top = -INFINITY, sum = 0;
    for (int e = lane; e < n; e += warp_size) top = fmaxf(top, widen(logits[e]));
    top = warp_max(top);
    for (int e = lane; e < n; e += warp_size) sum += p[e] = expf(widen(logits[e]) - top);
    sum = warp_sum(sum);
    for (int e = lane; e < n; e += warp_size) p[e] /= sum;
    __syncwarp();
  }
  /// The largest p that is not negative, the first of equal ones; of NaN any. The same in all lanes.
  __device__ int largest() const {
    int best = -1;
    const auto better = [&](int e) { return e >= 0 && (best < 0 || p[e] > p[best] || (p[e] == p[best] && e < best)); };
    for (int e = lane; e < n; e += warp_size)
      if (!(p[e] < 0) && better(e)) best = e;
    for (int offset = warp_size / 2; offset > 0; offset /= 2) {
      const int other = __shfl_down_sync(0xffffffffu, best, offset);
      if (better(other)) best = other;
    }
    return __shfl_sync(0xffffffffu, best, 0);
  }
};

template <class T>
__global__ void __launch_bounds__(route_warps* warp_size) route_choose(RouteChoose<T> a) {
  extern __shared__ float route_shared[];
  const RouteRow r(route_shared, a.logits.cols);
  if (r.row >= a.logits.rows) return;
  r.softmax(a.logits.row(r.row));
  int* const expert = a.expert + static_cast<std::ptrdiff_t>(r.row) * a.k;
  float* const weight = a.weight + static_cast<std::ptrdiff_t>(r.row) * a.k;
  float sum = 0;
  for (int c = 0; c < a.k; ++c) {
    const int e = r.largest();
    const float p = r.p[e];
    sum += p;
    __syncwarp();
    if (r.lane == 0) expert[c] = e, weight[c] = p, r.p[e] = -1;  // taken
    __syncwarp();
  }
  if (a.normalised && r.lane == 0)
    for (int c = 0; c < a.k; ++c) weight[c] /= sum;
}

/// A block has an expert: it counts the choices of those before it, then numbers its own in order.
template <int Threads>
__global__ void __launch_bounds__(Threads) route_sort(RouteSort a) {
  constexpr int warps = Threads / warp_size;
  __shared__ int of_warp[warps];
  const int own = static_cast<int>(blockIdx.x), choices = a.rows * a.k, thread = static_cast<int>(threadIdx.x);
  int before = 0;
  for (int i = thread; i < choices; i += Threads) before += a.expert[i] < own;
  before = __reduce_add_sync(0xffffffffu, before);
  if (thread % warp_size == 0) of_warp[thread / warp_size] = before;
  __syncthreads();
  int next = 0;
  for (int w = 0; w < warps; ++w) next += of_warp[w];
  for (int first = 0; first < choices; first += Threads) {
    const int i = first + thread;
    const bool mine = i < choices && a.expert[i] == own;
    const unsigned lanes = __ballot_sync(0xffffffffu, mine);
    __syncthreads();  // of_warp has been read
    if (thread % warp_size == 0) of_warp[thread / warp_size] = __popc(lanes);
    __syncthreads();
    int place = next + __popc(lanes & ((1u << thread % warp_size) - 1));
    for (int w = 0; w < warps; ++w) {
      if (w < thread / warp_size) place += of_warp[w];
      next += of_warp[w];
    }
    if (mine) a.place[i] = place, a.source[place] = i / a.k;
  }
  if (thread == 0) a.ends[own] = next;
}

/// A block has a piece of a part's rows; what a warp finds is summed in its own 2 n of shared memory, behind all
/// probabilities.
template <class T>
__global__ void __launch_bounds__(route_warps* warp_size) route_sum_piece(RouteSums<T> a, float* pieces) {
  extern __shared__ float route_shared[];
  const RouteRow r(route_shared, a.logits.cols);
  const int part = static_cast<int>(blockIdx.y), piece = static_cast<int>(blockIdx.x), all = 2 * r.n;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  float *const sums = route_shared + route_warps * r.n, *const own = sums + warp * all;
  for (int i = r.lane; i < all; i += warp_size) own[i] = 0;
  __syncwarp();
  const int begin = a.to.cu_parts[part], end = a.to.cu_parts[part + 1];
  for (int row = begin + piece * route_warps + warp; row < end; row += route<Cuda>::sum_pieces * route_warps) {
    r.softmax(a.logits.row(row));
    for (int e = r.lane; e < r.n; e += warp_size) own[r.n + e] += r.p[e];
    const int* const expert = a.expert + static_cast<std::ptrdiff_t>(row) * a.k;
    for (int c = r.lane; c < a.k; c += warp_size) own[expert[c]] += 1;  // a row's experts differ
    __syncwarp();
  }
  __syncthreads();
  float* const to = pieces + (static_cast<std::ptrdiff_t>(part) * route<Cuda>::sum_pieces + piece) * all;
  for (int i = static_cast<int>(threadIdx.x); i < all; i += route_warps * warp_size) {
    float sum = 0;
    for (int w = 0; w < route_warps; ++w) sum += sums[w * all + i];
    to[i] = sum;
  }
}
/// A block has a part.
template <int Threads>
__global__ void __launch_bounds__(Threads) route_sum_join(AuxiliarySums to, const float* pieces) {
  const std::ptrdiff_t part = static_cast<std::ptrdiff_t>(blockIdx.x) * to.each;
  for (int i = static_cast<int>(threadIdx.x); i < to.each; i += Threads) {
    float sum = to.sums[part + i];
    for (int piece = 0; piece < route<Cuda>::sum_pieces; ++piece)
      sum += pieces[part * route<Cuda>::sum_pieces + static_cast<std::ptrdiff_t>(piece) * to.each + i];
    to.sums[part + i] = sum;
  }
}

template <class T>
struct route_combine {
  RouteCombine<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float sum[Each] = {};
    for (int c = 0; c < a.k; ++c) {
      const std::ptrdiff_t i = static_cast<std::ptrdiff_t>(row) * a.k + c;
      const float weight = a.weight ? a.weight[i] : 1.0f;
      float x[Each];
      load_elements(a.sorted.row(a.place[i]) + column, x);
#pragma unroll
      for (int e = 0; e < Each; ++e) sum[e] += weight * x[e];
    }
    T* const to = a.y.row(row) + column;
    if (a.beta != 0) {
      float y[Each];
      load_elements(static_cast<const T*>(to), y);
#pragma unroll
      for (int e = 0; e < Each; ++e) sum[e] += a.beta * y[e];
    }
    store_elements(to, sum);
  }
};

/// A block has a choice.
template <class T, int Threads>
__global__ void __launch_bounds__(Threads) route_split(RouteSplit<T> a) {
  const int choice = static_cast<int>(blockIdx.x), place = a.place[choice];
  const float weight = a.weight[choice];
  const T *const dy = a.dy.row(choice / a.k), *const sorted = a.sorted.row(place);
  T* const to = a.dsorted.row(place);
  float dot = 0;
  for (int i = static_cast<int>(threadIdx.x); i < a.dy.cols; i += Threads) {
    dot += widen(sorted[i]) * widen(dy[i]);
    to[i] = narrow<T>(weight * widen(dy[i]));
  }
  dot = block_sum<Threads>(dot);
  if (threadIdx.x == 0) a.dweight[choice] = dot;
}

template <class T>
__global__ void __launch_bounds__(route_warps* warp_size) route_bwd(RouteBwd<T> a) {
  extern __shared__ float route_shared[];
  const RouteRow r(route_shared, a.logits.cols);
  if (r.row >= a.logits.rows) return;
  r.softmax(a.logits.row(r.row));
  const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(r.row) * a.k;
  float chosen = 0, mean = 0, dot = 0;
  for (int c = 0; c < a.k; ++c) {
    chosen += r.p[a.expert[first + c]];
    mean += a.dweight[first + c] * a.weight[first + c];
  }
  const auto dp = [&](int c) { return a.normalised ? (a.dweight[first + c] - mean) / chosen : a.dweight[first + c]; };
  for (int c = 0; c < a.k; ++c) dot += dp(c) * r.p[a.expert[first + c]];
  const float* const picked =
      a.balance.sums ? a.balance.sums + static_cast<std::ptrdiff_t>(a.balance.part_of(r.row)) * a.balance.each
                     : nullptr;
  float slope = 0;  // of the balancing loss, over how often an expert was chosen
  if (picked) {
    float choices = 0, shared = 0;
    for (int e = r.lane; e < r.n; e += warp_size) choices += picked[e], shared += picked[e] * r.p[e];
    const float rows = warp_sum(choices) / static_cast<float>(a.k);
    slope = a.balance.weight * static_cast<float>(r.n) / (rows * rows);
    dot += slope * warp_sum(shared);
  }
  for (int e = r.lane; e < r.n; e += warp_size) {
    float own = (picked ? slope * picked[e] : 0.0f) - dot;
    for (int c = 0; c < a.k; ++c)
      if (a.expert[first + c] == e) own += dp(c);
    a.dlogits(r.row, e) = narrow<T>(r.p[e] * own);
  }
}

template <class T>
struct RouteLaunch {
  unsigned blocks;
  std::size_t shared_bytes;
  explicit RouteLaunch(const Matrix<const T>& logits)
      : blocks(static_cast<unsigned>(ceil_div(logits.rows, route_warps))),
        shared_bytes(sizeof(float) * route_warps * static_cast<std::size_t>(logits.cols)) {
    if (logits.cols > RouteSort::most_experts)
      fail("route: ", logits.cols, " experts; the kernels take ", RouteSort::most_experts);
  }
};

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void route<Cuda>::choose(Stream<Cuda> s, const RouteChoose<T>& a) {
  const cuda::RouteLaunch<T> l(a.logits);
  if (l.blocks == 0) return;
  cuda::route_choose<<<l.blocks, cuda::route_warps * cuda::warp_size, l.shared_bytes, s.handle>>>(a);
  cuda::check_launch("route_choose");
}
[[gnu::used]] inline void route<Cuda>::sort(Stream<Cuda> s, const RouteSort& a) {
  constexpr int threads = 512;
  cuda::route_sort<threads><<<static_cast<unsigned>(a.experts), threads, 0, s.handle>>>(a);
  cuda::check_launch("route_sort");
}
template <class T>
void route<Cuda>::sum(Stream<Cuda> s, const RouteSums<T>& a) {
  constexpr int threads = 256;
  const cuda::RouteLaunch<T> l(a.logits);
  if (l.blocks == 0) return;
  Arena::Scope scope(*s.scratch);
  float* const pieces = reinterpret_cast<float*>(s.scratch->take<std::byte>(workspace_bytes(a)));
  const dim3 blocks(sum_pieces, static_cast<unsigned>(a.to.parts));
  cuda::route_sum_piece<<<blocks, cuda::route_warps * cuda::warp_size, 3 * l.shared_bytes, s.handle>>>(a, pieces);
  cuda::check_launch("route_sum_piece");
  cuda::route_sum_join<threads><<<static_cast<unsigned>(a.to.parts), threads, 0, s.handle>>>(a.to, pieces);
  cuda::check_launch("route_sum_join");
}
template <class T>
void route<Cuda>::combine(Stream<Cuda> s, const RouteCombine<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  cuda::launch_elementwise<n>(s, a.y.rows, a.y.cols, cuda::in_pieces<n>(a.sorted) && cuda::in_pieces<n>(a.y),
                              cuda::route_combine<T>{a}, "route_combine");
}
template <class T>
void route<Cuda>::split(Stream<Cuda> s, const RouteSplit<T>& a) {
  constexpr int threads = 128;
  if (a.dy.rows == 0) return;
  cuda::route_split<T, threads><<<static_cast<unsigned>(a.dy.rows * a.k), threads, 0, s.handle>>>(a);
  cuda::check_launch("route_split");
}
template <class T>
void route<Cuda>::backward(Stream<Cuda> s, const RouteBwd<T>& a) {
  const cuda::RouteLaunch<T> l(a.logits);
  if (l.blocks == 0) return;
  cuda::route_bwd<<<l.blocks, cuda::route_warps * cuda::warp_size, l.shared_bytes, s.handle>>>(a);
  cuda::check_launch("route_bwd");
}

}  // namespace lamina::kernel
