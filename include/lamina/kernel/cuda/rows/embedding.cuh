#pragma once
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/rows/embedding.hpp>

/// Look-ups in tables. Their gradients add rows of dy to rows of the table, several of them to the same: entries are
/// first ordered by row (a counting sort), then one block adds up what goes to a row, in order of the entries.
namespace lamina::kernel::cuda {

template <class W, class T>
struct embedding_fwd {
  EmbeddingFwd<T> a;
  template <int Each>
  __device__ void at(int n, int column) const {
    const int id = a.ids[n];
    float w[Each] = {};
    if (id >= 0) load_elements(static_cast<const W*>(a.w.data) + id * a.w.stride + column, w);
    store_elements(a.y.row(n) + column, w);
  }
};

template <class W, class T>
struct learned_position_fwd {
  LearnedPositionFwd<T> a;
  template <int Each>
  __device__ void at(int n, int column) const {
    float x[Each], w[Each], position[Each] = {};
    load_elements(a.x.row(n) + column, x);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      load_elements(static_cast<const W*>(a.w.data) + a.row[4 * n + k] * a.w.stride + column, w);
      const float weight = a.weight[4 * n + k];
#pragma unroll
      for (int e = 0; e < Each; ++e) position[e] += weight * w[e];
    }
#pragma unroll
    for (int e = 0; e < Each; ++e) x[e] += position[e];
    store_elements(a.y.row(n) + column, x);
  }
};

/// Runs Op<W, T> with the table's element type.
template <template <class, class> class Op, class T, class Args>
void launch_look_up(Stream<Cuda> s, const Args& a, bool whole, const char* name) {
  constexpr int each = 8;  // pieces of any element type
  whole = whole && in_pieces<each>(a.w) && in_pieces<each>(a.y);
  const auto run = [&](const auto& op) { launch_elementwise<each>(s, a.y.rows, a.y.cols, whole, op, name); };
  switch (a.w.dtype) {
    case DType::BF16:
      return run(Op<bf16, T>{a});
    case DType::F16:
      return run(Op<f16, T>{a});
    default:
      return run(Op<float, T>{a});
  }
}

/// Which row of the table entry i goes to (below 0: none), what it is multiplied by (null: 1), and the row of dy that
/// it adds: i / entries_per_row.
struct TableEntries {
  const int* row = nullptr;
  const float* weight = nullptr;
  int count = 0, per_dy_row = 1;
};

static __global__ void count_entries(TableEntries entries, int* count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < entries.count && entries.row[i] >= 0) atomicAdd(count + entries.row[i], 1);
}

/// start[r] = count[0] + ... + count[r - 1], for r <= rows; next = start. One block: each thread sums a run of rows.
static __global__ void find_starts(const int* count, int rows, int* start, int* next) {
  __shared__ int warp_sums[warp_size];
  const int run = ceil_div(rows, static_cast<int>(blockDim.x)), first = min(rows, static_cast<int>(threadIdx.x) * run);
  const int last = min(rows, first + run), lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  int own = 0;
  for (int r = first; r < last; ++r) own += count[r];
  int through = own;  // of this thread's warp, including it
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const int below = __shfl_up_sync(0xffffffffu, through, offset);
    if (lane >= offset) through += below;
  }
  if (lane == warp_size - 1) warp_sums[warp] = through;
  __syncthreads();
  int before = through - own;
  for (int w = 0; w < warp; ++w) before += warp_sums[w];
  for (int r = first; r < last; ++r) {
    const int here = count[r];
    start[r] = next[r] = before;
    before += here;
  }
  if (threadIdx.x == blockDim.x - 1) start[rows] = before;
}

/// Puts each entry among those of its row, in any order.
static __global__ void place_entries(TableEntries entries, int* next, int* placed) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < entries.count && entries.row[i] >= 0) placed[atomicAdd(next + entries.row[i], 1)] = i;
}

/// ordered = placed, the entries of each row ascending: an entry's place is the number of smaller ones.
static __global__ void order_entries(TableEntries entries, const int* start, int rows, const int* placed,
                                     int* ordered) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= start[rows]) return;
  const int i = placed[at], row = entries.row[i], first = start[row], last = start[row + 1];
  int smaller = 0;
  for (int k = first; k < last; ++k) smaller += placed[k] < i;
  ordered[first + smaller] = i;
}

/// dw[row] += weight * dy of each entry of the row, in order. A block takes a row (that of the first entry at its
/// place; others leave) and a run of columns.
template <class T>
__global__ void add_entries(TableEntries entries, const int* start, const int* ordered, Matrix<const T> dy,
                            Matrix<float> dw) {
  const int at = blockIdx.x, column = blockIdx.y * blockDim.x + threadIdx.x;
  if (at >= start[dw.rows] || column >= dy.cols) return;
  const int row = entries.row[ordered[at]];
  if (start[row] != at) return;
  const int last = start[row + 1];
  float sum = dw(row, column);
#pragma unroll 4
  for (int k = at; k < last; ++k) {
    const int i = ordered[k];
    sum += (entries.weight ? entries.weight[i] : 1.0f) * widen(dy(i / entries.per_dy_row, column));
  }
  dw(row, column) = sum;
}

template <class T>
void add_to_table(Stream<Cuda> s, TableEntries entries, Matrix<const T> dy, Matrix<float> dw) {
  if (entries.count == 0 || dy.cols == 0) return;
  constexpr int threads = 256;
  const int blocks = ceil_div(entries.count, threads);
  Arena::Scope scope(*s.scratch);
  int* start = s.scratch->take<int>(static_cast<std::size_t>(dw.rows) + 1);
  int* next = s.scratch->take<int>(dw.rows);  // the counts, then where the next entry goes
  int* placed = s.scratch->take<int>(entries.count);
  int* ordered = s.scratch->take<int>(entries.count);
  check(cudaMemsetAsync(next, 0, dw.rows * sizeof(int), s.handle), "clearing counts");
  count_entries<<<blocks, threads, 0, s.handle>>>(entries, next);
  find_starts<<<1, 1024, 0, s.handle>>>(next, dw.rows, start, next);
  place_entries<<<blocks, threads, 0, s.handle>>>(entries, next, placed);
  order_entries<<<blocks, threads, 0, s.handle>>>(entries, start, dw.rows, placed, ordered);
  add_entries<T>
      <<<dim3(entries.count, ceil_div(dy.cols, threads)), threads, 0, s.handle>>>(entries, start, ordered, dy, dw);
  check_launch("add_to_table");
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void embedding<Cuda>::forward(Stream<Cuda> s, const EmbeddingFwd<T>& a) {
  cuda::launch_look_up<cuda::embedding_fwd, T>(s, a, true, "embedding_fwd");
}
template <class T>
void embedding<Cuda>::backward(Stream<Cuda> s, const EmbeddingBwd<T>& a) {
  cuda::add_to_table<T>(s, {.row = a.ids, .count = a.dy.rows}, a.dy, a.dw);
}

template <class T>
void learned_position<Cuda>::forward(Stream<Cuda> s, const LearnedPositionFwd<T>& a) {
  cuda::launch_look_up<cuda::learned_position_fwd, T>(s, a, cuda::in_pieces<8>(a.x), "learned_position_fwd");
}
template <class T>
void learned_position<Cuda>::backward(Stream<Cuda> s, const LearnedPositionBwd<T>& a) {
  cuda::add_to_table<T>(s, {.row = a.row, .weight = a.weight, .count = 4 * a.dy.rows, .per_dy_row = 4}, a.dy, a.dw);
}

}  // namespace lamina::kernel
