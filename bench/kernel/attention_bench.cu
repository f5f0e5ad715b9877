// Attention on a GPU, bf16: answers are checked against the fp32 kernels, then timed; its peer is attention_peer.py.
//
//     bench_kernel_attention [part of a name]
//
// Forward counts 4 * pairs * heads * head_dim FLOPs, where a causal mask halves the pairs; backward 2.5 times as many
// (five products for two). Decoding counts the bytes of K and V, of which there are so many copies that L2 holds none.
#include <lamina/kernel/cuda/attention/attention.cuh>

#include <cmath>
#include <vector>
#include "cuda_bench.cuh"

using namespace lamina;
using namespace lamina::kernel;

namespace {

struct Sizes {
  const char* name;
  int batch, queries, keys;
  AttentionShape heads;
};
const Sizes training[] = {
    {"2B/8x2048", 8, 2048, 2048, {16, 8, 128, 0.0884f, true}},
    {"8B/2x8192", 2, 8192, 8192, {32, 8, 128, 0.0884f, true}},
    {"2B/1x2048", 1, 2048, 2048, {16, 8, 128, 0.0884f, true}},
    {"2B/80x200", 80, 200, 200, {16, 8, 128, 0.0884f, true}},
    {"vision64/8x2048", 8, 2048, 2048, {16, 16, 64, 0.125f, false}},
    {"vision72/8x2048", 8, 2048, 2048, {16, 16, 72, 0.118f, false}},
    {"vision80/512x64", 512, 64, 64, {16, 16, 80, 0.112f, false}},
};
template <class T>
AttentionFwd<T> forward_problem(bench::Gpu& gpu, const Sizes& s, unsigned seed = 0) {
  const int rows = s.batch * s.queries, keys = s.batch * s.keys;
  const int width = s.heads.heads * s.heads.head_dim, kv_width = s.heads.kv_heads * s.heads.head_dim;
  const auto cumulative = [&](int length) {
    std::vector<int> cu;
    for (int b = 0; b <= s.batch; ++b) cu.push_back(b * length);
    int* to = gpu.memory.take<int>(cu.size());
    Memory<Cuda>::upload(gpu.stream(), to, cu.data(), cu.size() * sizeof(int));
    return to;
  };
  return {.q = bench::random_matrix<T>(gpu, rows, width, seed + 1),
          .k = bench::random_matrix<T>(gpu, keys, kv_width, seed + 2),
          .v = bench::random_matrix<T>(gpu, keys, kv_width, seed + 3),
          .o = gpu.memory.matrix<T>(rows, width),
          .lse = gpu.memory.take<float>(static_cast<std::size_t>(rows) * s.heads.heads),
          .cu_q = cumulative(s.queries),
          .cu_k = cumulative(s.keys),
          .sequences = s.batch,
          .shape = s.heads};
}
template <class T>
AttentionBwd<T> backward_problem(bench::Gpu& gpu, const AttentionFwd<T>& f) {
  return {.q = f.q,
          .k = f.k,
          .v = f.v,
          .o = f.o,
          .dout = bench::random_matrix<T>(gpu, f.q.rows, f.q.cols, 4),
          .lse = f.lse,
          .dq = gpu.memory.matrix<T>(f.q.rows, f.q.cols),
          .dk = gpu.memory.matrix<T>(f.k.rows, f.k.cols),
          .dv = gpu.memory.matrix<T>(f.k.rows, f.k.cols),
          .cu = f.cu_q,
          .sequences = f.sequences,
          .shape = f.shape};
}

__global__ void add_errors(const bf16* got, const float* want, std::size_t n, double* sums) {
  double difference = 0, size = 0;
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < n; i += step) {
    const double d = double{kernel::cuda::widen(got[i])} - want[i];
    difference += d * d, size += double{want[i]} * want[i];
  }
  atomicAdd(sums, difference), atomicAdd(sums + 1, size);
}
/// bf16 rounds inputs, probabilities and results by at most 2^-8 each.
bool right(bench::Gpu& gpu, const char* what, const Matrix<bf16>& got, const Matrix<float>& want) {
  Arena::Scope scope(gpu.memory);
  double* sums = gpu.memory.take<double>(2);
  Memory<Cuda>::zero(gpu.stream(), sums, 2 * sizeof(double));
  add_errors<<<256, 256, 0, gpu.stream().handle>>>(got.data, want.data, static_cast<std::size_t>(got.rows) * got.cols,
                                                   sums);
  double host[2];
  Memory<Cuda>::download(gpu.stream(), host, sums, sizeof host);
  const double error = std::sqrt(host[0] / host[1]);
  if (error < 0x1p-6) return true;
  std::printf("%s is WRONG: relative error %g\n", what, error);
  return false;
}

bool train(bench::Gpu& gpu, const Sizes& shape) {
  Arena::Scope scope(gpu.memory);
  const auto forward = forward_problem<bf16>(gpu, shape);
  const auto exact = forward_problem<float>(gpu, shape);
  const auto backward = backward_problem(gpu, forward);
  const auto exact_backward = backward_problem(gpu, exact);
  const auto s = gpu.stream();
  kernel::cuda::attention_forward_own(s, forward), kernel::cuda::attention_forward_own(s, exact);
  kernel::cuda::attention_backward_own(s, backward), kernel::cuda::attention_backward_own(s, exact_backward);
  const bool all = right(gpu, "o", forward.o, exact.o) && right(gpu, "dq", backward.dq, exact_backward.dq) &&
                   right(gpu, "dk", backward.dk, exact_backward.dk) && right(gpu, "dv", backward.dv, exact_backward.dv);
  const double flops = 4.0 * shape.batch * shape.queries * shape.keys * shape.heads.heads * shape.heads.head_dim *
                       (shape.heads.causal ? 0.5 : 1.0);
  const std::string name = std::string("attention/bf16/") + shape.name;
  bench::report_flops(name + "/fwd",
                      bench::seconds_per_call(gpu, 4, [&](int) { kernel::cuda::attention_forward_own(s, forward); }),
                      flops);
  bench::report_flops(name + "/bwd",
                      bench::seconds_per_call(gpu, 2, [&](int) { kernel::cuda::attention_backward_own(s, backward); }),
                      2.5 * flops);
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Gpu gpu(std::size_t{6} << 30, std::size_t{1} << 30, argc > 1 ? argv[1] : "");
  std::printf("%s\n", gpu.device->name().c_str());
  bool all = true;
  for (const Sizes& shape : training)
    if (gpu.wanted(shape.name)) all &= train(gpu, shape);
  return all ? 0 : 1;
}
