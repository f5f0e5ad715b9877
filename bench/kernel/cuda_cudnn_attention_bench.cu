// cuDNN attention and this library's own, forward and backward: ms and TFLOP/s (causal FLOPs halved, backward 2.5 times
// forward), between adapted projections as layer/attention_core.hpp has them.
// Baseline: cuda_attention_peer.py, PyTorch's cuDNN and FlashAttention backends.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <lamina/kernel/cuda/attention/attention.cuh>
#include <lamina/kernel/cuda/device/device.cuh>

using namespace lamina;
using namespace lamina::kernel;

namespace {

__global__ void fill(bf16* x, std::size_t n, unsigned seed) {
  for (std::size_t i = blockIdx.x * 256ull + threadIdx.x; i < n; i += gridDim.x * 256ull) {
    unsigned h = static_cast<unsigned>(i) * 2654435761u + seed;
    h = (h ^ h >> 15) * 2246822519u, h = (h ^ h >> 13) * 3266489917u;
    x[i] = cuda::narrow<bf16>(static_cast<float>(h >> 8) * 0x1p-23f - 1);
  }
}

struct Timing {
  const char* name;
  std::vector<int> lengths;
  int heads, kv_heads, head_dim;
  bool causal, longest_known;
};

float milliseconds(cudaStream_t stream, auto&& call) {
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  for (int i = 0; i < 3; ++i) call();
  constexpr int repeats = 20;
  cudaEventRecord(begin, stream);
  for (int i = 0; i < repeats; ++i) call();
  cudaEventRecord(end, stream);
  cuda::check(cudaEventSynchronize(end), "timing");
  float ms = 0;
  cudaEventElapsedTime(&ms, begin, end);
  return ms / repeats;
}

void run(CudaDevice& device, Arena& memory, Arena& scratch, const Timing& t) {
  memory.release_to(0);
  const Stream<Cuda> s = device.stream(&scratch);
  std::vector<int> host_cu = {0};
  double pairs = 0;
  int longest = 0;
  for (const int n : t.lengths) {
    host_cu.push_back(host_cu.back() + n);
    pairs += double(n) * n / (t.causal ? 2 : 1);
    longest = std::max(longest, n);
  }
  const int rows = host_cu.back(), q = t.heads * t.head_dim, kv = t.kv_heads * t.head_dim, width = q + 2 * kv;
  const auto take = [&](int columns, int tail = 0) { return memory.matrix<bf16>(rows, columns, tail); };
  // As layer/attention_core.hpp has them between adapted projections.
  constexpr int tail = 64;
  const Matrix<bf16> qr = take(q), kr = take(kv), x = take(width), o = take(q, tail), g = take(q);
  const Matrix<bf16> dq = take(q), dk = take(kv), dx = take(width, tail);
  float* lse = memory.take<float>(static_cast<std::size_t>(rows) * t.heads);
  int* cu = memory.take<int>(host_cu.size());
  unsigned seed = 0;
  for (const Matrix<bf16>& m : {qr, kr, x, g})
    fill<<<1024, 256, 0, s.handle>>>(m.data, static_cast<std::size_t>(rows) * m.stride, ++seed);
  Memory<Cuda>::upload(s, cu, host_cu.data(), host_cu.size() * 4);
  const AttentionShape shape{t.heads, t.kv_heads, t.head_dim, 1 / std::sqrt(float(t.head_dim)), t.causal};
  const AttentionFwd<bf16> f{.q = qr,
                             .k = kr,
                             .v = x.columns(q + kv, kv),
                             .o = o,
                             .lse = lse,
                             .cu_q = cu,
                             .cu_k = cu,
                             .sequences = int(t.lengths.size()),
                             .shape = shape,
                             .longest = t.longest_known ? longest : 0};
  const AttentionBwd<bf16> b{.q = f.q,
                             .k = f.k,
                             .v = f.v,
                             .o = o,
                             .dout = g,
                             .lse = lse,
                             .dq = dq,
                             .dk = dk,
                             .dv = dx.columns(q + kv, kv),
                             .cu = cu,
                             .sequences = f.sequences,
                             .shape = shape,
                             .longest = f.longest};
  const auto before = std::chrono::steady_clock::now();
  if (!cudnn_attention_forward(s, f)) {
    std::printf("%-48s not supported\n", t.name);
    return;
  }
  const bool backward = cudnn_attention_backward(s, b);
  const std::chrono::duration<double> plans = std::chrono::steady_clock::now() - before;
  const double flops = 4 * pairs * t.heads * t.head_dim;
  const auto report = [&](const char* what, double flop, auto call) {
    const float ms = milliseconds(s.handle, call);
    std::printf("attention/%s/bf16/%-48s %8.3f ms %6.1f TFLOP/s\n", what, t.name, ms, flop / ms * 1e-9);
  };
  report("cudnn/fwd", flops, [&] { cudnn_attention_forward(s, f); });
  report("own/fwd", flops, [&] { cuda::attention_forward_own(s, f); });
  if (backward) {
    report("cudnn/bwd", 2.5 * flops, [&] { cudnn_attention_backward(s, b); });
    AttentionBwd<bf16> alone = b;                               // as PyTorch has them
    alone.v = alone.k, alone.dv = take(kv), alone.o = take(q);  // any numbers will do
    report("cudnn/bwd, no gaps", 2.5 * flops, [&] { cudnn_attention_backward(s, alone); });
  }
  report("own/bwd", 2.5 * flops, [&] { cuda::attention_backward_own(s, b); });
  std::printf("  scratch %.0f MiB, plans %.2f s\n", cudnn_attention_bytes(b) / 1048576.0, plans.count());
}

}  // namespace

/// An argument: only the shapes whose name contains it.
int main(int argc, char** argv) {
  const auto device = CudaDevice::open();
  Arena memory(std::size_t{4} << 30, Memory<Cuda>{}), scratch(std::size_t{4} << 30, Memory<Cuda>{});
  std::printf("%s, cuDNN %s\n", device->name().c_str(), cuda::Cudnn::get().version().c_str());
  std::vector<int> mixed;
  for (int i = 0; i < 32; ++i) mixed.push_back(64 + 300 * (i % 4));
  const std::vector<int> eight(8, 2048), two(2, 8192), images(16, 1024), windows(256, 64);
  const Timing timings[] = {
      {"8x2048 16/8x128 causal", eight, 16, 8, 128, true, true},
      {"8x2048 16/8x128 causal, longest unknown", eight, 16, 8, 128, true, false},
      {"32 of 64..964 16/8x128 causal", mixed, 16, 8, 128, true, true},
      {"32 of 64..964 16/8x128 causal, longest unknown", mixed, 16, 8, 128, true, false},
      {"2x8192 16/8x128 causal", two, 16, 8, 128, true, true},
      {"8x2048 28/4x128 causal", eight, 28, 4, 128, true, true},
      {"16x1024 16/16x64 full", images, 16, 16, 64, false, true},
      {"16x1024 16/16x72 full", images, 16, 16, 72, false, true},
      {"16x1024 16/16x80 full", images, 16, 16, 80, false, true},
      {"256x64 16/16x80 full", windows, 16, 16, 80, false, true},
  };
  for (const Timing& t : timings) {
    if (argc < 2 || std::string(t.name).find(argv[1]) != std::string::npos) run(*device, memory, scratch, t);
  }
}
