// Attention on a GPU, bf16: answers are checked against the fp32 kernels, then timed; the peer is attention_peer.py.
//
//     bench_kernel_attention
//
// Forward counts 4 * pairs * heads * head_dim FLOPs, where a causal mask halves the pairs; backward 2.5 times as many
// (five products for two). Decoding counts the bytes of K and V.
#include <lamina/kernel/cuda/attention.cuh>
#include <lamina/kernel/cuda/device.cuh>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

using namespace lamina;
using namespace lamina::kernel;

namespace {

struct Shape {
  const char* name;
  int batch, queries, keys;
  AttentionShape heads;
};
const Shape training[] = {
    {"Qwen3-VL-2B", 8, 2048, 2048, {16, 8, 128, 0.0884f, true}},
    {"Qwen3-VL-8B", 2, 8192, 8192, {32, 8, 128, 0.0884f, true}},
    {"one sequence", 1, 2048, 2048, {16, 8, 128, 0.0884f, true}},
    {"vision 64", 8, 2048, 2048, {16, 16, 64, 0.125f, false}},
    {"vision 72", 8, 2048, 2048, {16, 16, 72, 0.118f, false}},
    {"windows of 64 tokens, 80", 512, 64, 64, {16, 16, 80, 0.112f, false}},
    {"samples of 200 tokens", 80, 200, 200, {16, 8, 128, 0.0884f, true}},
};
const Shape decoding[] = {
    {"decode 2B", 1, 1, 1024, {16, 8, 128, 0.0884f, true}},   {"decode 2B", 1, 1, 4096, {16, 8, 128, 0.0884f, true}},
    {"decode 2B", 1, 1, 32768, {16, 8, 128, 0.0884f, true}},  {"decode 8B", 1, 1, 32768, {32, 8, 128, 0.0884f, true}},
    {"decode 2.5 7B", 1, 1, 8192, {28, 4, 128, 0.0884f, true}}, {"decode 2B x8", 8, 1, 4096, {16, 8, 128, 0.0884f, true}},
    {"prefill a chunk", 1, 512, 8192, {16, 8, 128, 0.0884f, true}},
};

/// Uniform in [-1, 1), from the element's number (Philox would be overdone).
template <class T>
__global__ void fill(T* to, std::size_t n, unsigned seed) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < n; i += std::size_t{gridDim.x} * blockDim.x) {
    unsigned x = static_cast<unsigned>(i) * 2654435761u + seed;
    x = (x ^ x >> 16) * 0x7feb352du, x = (x ^ x >> 15) * 0x846ca68bu, x ^= x >> 16;
    to[i] = kernel::cuda::narrow<T>(kernel::cuda::widen(kernel::cuda::narrow<bf16>(static_cast<int>(x) * 0x1p-31f)));
  }
}

template <class T>
struct Problem {
  AttentionFwd<T> forward;
  AttentionBwd<T> backward;
  Problem(const Shape& s, Arena& memory, cudaStream_t stream) {
    const int rows = s.batch * s.queries, keys = s.batch * s.keys;
    const auto random = [&](int n, int width, unsigned seed) {
      const Matrix<T> m = memory.matrix<T>(n, width);
      fill<<<1024, 256, 0, stream>>>(m.data, static_cast<std::size_t>(n) * width, seed);
      return m;
    };
    const int q_width = s.heads.heads * s.heads.head_dim, kv_width = s.heads.kv_heads * s.heads.head_dim;
    const auto cumulative = [&](int length) {
      std::vector<int> cu;
      for (int b = 0; b <= s.batch; ++b) cu.push_back(b * length);
      int* to = memory.take<int>(cu.size());
      cudaMemcpy(to, cu.data(), cu.size() * sizeof(int), cudaMemcpyHostToDevice);
      return to;
    };
    forward = {.q = random(rows, q_width, 1), .k = random(keys, kv_width, 2), .v = random(keys, kv_width, 3),
               .o = memory.matrix<T>(rows, q_width),
               .lse = memory.take<float>(static_cast<std::size_t>(rows) * s.heads.heads),
               .cu_q = cumulative(s.queries), .cu_k = cumulative(s.keys), .sequences = s.batch, .shape = s.heads};
    backward = {.q = forward.q, .k = forward.k, .v = forward.v, .o = forward.o, .dout = random(rows, q_width, 4),
                .lse = forward.lse, .dq = memory.matrix<T>(rows, q_width), .dk = memory.matrix<T>(keys, kv_width),
                .dv = memory.matrix<T>(keys, kv_width), .cu = forward.cu_q, .sequences = s.batch, .shape = s.heads};
  }
};

__global__ void add_errors(const bf16* got, const float* want, std::size_t n, double* sums) {
  double difference = 0, size = 0;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < n; i += std::size_t{gridDim.x} * blockDim.x) {
    const double d = double{kernel::cuda::widen(got[i])} - want[i];
    difference += d * d, size += double{want[i]} * want[i];
  }
  atomicAdd(sums, difference), atomicAdd(sums + 1, size);
}
double relative_error(const Matrix<bf16>& got, const Matrix<float>& want, double* sums) {
  cudaMemset(sums, 0, 2 * sizeof(double));
  add_errors<<<256, 256>>>(got.data, want.data, static_cast<std::size_t>(got.rows) * got.cols, sums);
  double host[2];
  cudaMemcpy(host, sums, sizeof host, cudaMemcpyDeviceToHost);
  return std::sqrt(host[0] / host[1]);
}

/// Median of single launches, in ms, after some to warm up.
double median_ms(cudaStream_t stream, const std::function<void()>& run, int times = 15) {
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  std::vector<float> ms(times);
  for (int i = -3; i < times; ++i) {
    cudaEventRecord(begin, stream);
    run();
    cudaEventRecord(end, stream);
    kernel::cuda::check(cudaEventSynchronize(end), "attention_bench");
    if (i >= 0) cudaEventElapsedTime(&ms[i], begin, end);
  }
  std::nth_element(ms.begin(), ms.begin() + times / 2, ms.end());
  return ms[times / 2];
}
/// ms of one run when a graph holds many, as a decoding loop's does: launches from the host do not count.
double graph_ms(cudaStream_t stream, const std::function<void()>& run) {
  constexpr int repeats = 20;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  for (int i = 0; i < repeats; ++i) run();
  kernel::cuda::check(cudaStreamEndCapture(stream, &graph), "capture");
  kernel::cuda::check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  const double ms = median_ms(stream, [&] { cudaGraphLaunch(exec, stream); }) / repeats;
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
  return ms;
}

}  // namespace

int main() {
  const auto device = CudaDevice::open();
  Arena scratch(std::size_t{2} << 30, Memory<Cuda>{}), memory(std::size_t{6} << 30, Memory<Cuda>{});
  const Stream<Cuda> s = device->stream(&scratch);
  double* sums = memory.take<double>(2);
  std::printf("%s\n", device->name().c_str());
  bool right = true;
  const auto check_error = [&](const char* what, double error) {  // bf16 rounds by at most 2^-8 a few times over
    if (!(error < 0x1p-6)) std::printf("  %s is WRONG: relative error %g\n", what, error), right = false;
  };
  for (const Shape& shape : training) {
    Arena::Scope scope(memory);
    const Problem<bf16> p(shape, memory, s.handle);
    const Problem<float> exact(shape, memory, s.handle);
    const auto forward = [&] { kernel::cuda::attention_forward_own(s, p.forward); };
    const auto backward = [&] { kernel::cuda::attention_backward_own(s, p.backward); };
    forward(), backward();
    kernel::cuda::attention_forward_own(s, exact.forward);
    kernel::cuda::attention_backward_own(s, exact.backward);
    device->wait();
    check_error("o", relative_error(p.forward.o, exact.forward.o, sums));
    check_error("dq", relative_error(p.backward.dq, exact.backward.dq, sums));
    check_error("dk", relative_error(p.backward.dk, exact.backward.dk, sums));
    check_error("dv", relative_error(p.backward.dv, exact.backward.dv, sums));
    const double flops = 4.0 * shape.batch * shape.queries * shape.keys * shape.heads.heads * shape.heads.head_dim *
                         (shape.heads.causal ? 0.5 : 1.0);
    const double fwd = median_ms(s.handle, forward), bwd = median_ms(s.handle, backward);
    std::printf("%-26s %3d x %5d  %2d/%-2d x %-3d %s  fwd %7.3f ms %4.0f TFLOP/s   bwd %7.3f ms %4.0f TFLOP/s\n",
                shape.name, shape.batch, shape.queries, shape.heads.heads, shape.heads.kv_heads, shape.heads.head_dim,
                shape.heads.causal ? "causal" : "full  ", fwd, flops / fwd * 1e-9, bwd, 2.5 * flops / bwd * 1e-9);
  }
  for (const Shape& shape : decoding) {
    Arena::Scope scope(memory);
    const Problem<bf16> p(shape, memory, s.handle);
    const Problem<float> exact(shape, memory, s.handle);
    const auto forward = [&] { kernel::cuda::attention_forward_own(s, p.forward); };
    forward();
    kernel::cuda::attention_forward_own(s, exact.forward);
    device->wait();
    check_error("o", relative_error(p.forward.o, exact.forward.o, sums));
    const double us = 1000 * graph_ms(s.handle, forward);
    const double bytes = 2.0 * shape.batch * shape.keys * shape.heads.kv_heads * shape.heads.head_dim * sizeof(bf16);
    std::printf("%-26s %3d x %3d query, %5d keys  %2d/%-2d  %8.2f us  %5.2f TB/s of K and V (L2 holds 50 MB)\n",
                shape.name, shape.batch, shape.queries, shape.keys, shape.heads.heads, shape.heads.kv_heads, us,
                bytes / us * 1e-6);
  }
  return right ? 0 : 1;
}
