// Products of Qwen3-VL-2B on the GPU, and those of decoding of 8B: bench_kernel_matmul [part of a line's name]. Each
// line's answer is checked on a few elements before it is timed. The peer is matmul_peer.py.
#include <cmath>
#include <lamina/kernel/cuda/logits/head_loss.cuh>
#include <lamina/kernel/cuda/matmul/matmul.cuh>
#include <vector>

#include "cuda_bench.cuh"

using namespace lamina;
using namespace lamina::bench;
namespace k = lamina::kernel;

namespace {

template <class T>
std::vector<float> fetch(Gpu& gpu, const T* from, std::size_t n, std::ptrdiff_t step = 1) {
  std::vector<T> raw(n);
  k::cuda::check(cudaMemcpy2DAsync(raw.data(), sizeof(T), from, step * sizeof(T), sizeof(T), n, cudaMemcpyDeviceToHost,
                                   gpu.stream().handle),
                 "copy");
  gpu.device->wait();
  std::vector<float> out;
  for (T x : raw) out.push_back(to_f32(x));
  return out;
}
double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}
/// Corners and a middle element of out against got - before = dot(left(i), right(j)).
template <class Out, class Left, class Right>
void expect_product(Gpu& gpu, const std::string& name, const Matrix<Out>& out, double before, Left left, Right right) {
  for (const auto& [i, j] : {std::pair{0, 0}, {out.rows - 1, out.cols - 1}, {out.rows / 2, out.cols / 3}}) {
    const std::vector<float> l = left(i), r = right(j);
    const double want = dot(l, r) + before, got = fetch(gpu, &out(i, j), 1)[0];
    double size = std::fabs(before);
    for (std::size_t t = 0; t < l.size(); ++t) size += std::fabs(double{l[t]} * r[t]);
    if (!(std::fabs(got - want) <= 0x1p-7 * std::fabs(want) + 1e-5 * size))
      std::printf("WRONG %s (%d, %d): got %g, want %g\n", name.c_str(), i, j, got, want);
  }
}

struct Layer {
  const char* name;
  int out, in;
};
constexpr Layer layers_8b[] = {{"qkv", 6144, 4096}, {"o", 4096, 4096}, {"gate_up", 24576, 4096}, {"down", 4096, 12288}};
constexpr Layer layers[] = {{"qkv", 4096, 2048}, {"o", 2048, 2048}, {"gate_up", 12288, 2048}, {"down", 2048, 6144}};

Weight weight_of(Matrix<bf16> w) { return {w.data, DType::BF16, w.rows, w.cols, w.stride}; }

void bench_layers(Gpu& gpu) {
  for (const int tokens : {4800, 16384, 32768}) {
    for (const auto& [layer, out, in] : layers) {
      Arena::Scope scope(gpu.memory);
      const auto x = random_matrix<bf16>(gpu, tokens, in, 1), y = random_matrix<bf16>(gpu, tokens, out, 2);
      const auto w = random_matrix<bf16>(gpu, out, in, 3, 0.02f);
      const double flops = 2.0 * tokens * out * in;
      const std::string end = cat(layer, "/", tokens, "x", in, "->", out);
      if (const std::string name = "gemm/fwd/" + end; gpu.wanted(name)) {
        const k::MatmulFwd<bf16> a{.x = x, .w = weight_of(w), .y = y};
        const double seconds = seconds_per_call(gpu, 4, [&](int) { k::matmul<Cuda>::forward(gpu.stream(), a); });
        expect_product(
            gpu, name, y, 0, [&](int i) { return fetch(gpu, x.row(i), in); },
            [&](int j) { return fetch(gpu, w.row(j), in); });
        report_flops(name, seconds, flops);
      }
      if (const std::string name = "gemm/bwd/" + end; gpu.wanted(name)) {
        const k::MatmulBwdInput<bf16> a{.dy = y, .w = weight_of(w), .dx = x};
        const double seconds = seconds_per_call(gpu, 4, [&](int) { k::matmul<Cuda>::backward_input(gpu.stream(), a); });
        expect_product(
            gpu, name, x, 0, [&](int i) { return fetch(gpu, y.row(i), out); },
            [&](int j) { return fetch(gpu, w.data + j, out, in); });
        report_flops(name, seconds, flops);
      }
    }
  }
}

/// The five products of an adapter of fp32 A (r, in) and B (out, r); out = in = width here.
void bench_adapter(Gpu& gpu, int tokens, int width, int r) {
  Arena::Scope scope(gpu.memory);
  const auto x = random_matrix<bf16>(gpu, tokens, width, 1), y = random_matrix<bf16>(gpu, tokens, width, 2);
  const auto h = random_matrix<bf16>(gpu, tokens, r, 3);
  const auto A = random_matrix<float>(gpu, r, width, 4, 0.02f), B = random_matrix<float>(gpu, width, r, 5, 0.02f);
  const auto dA = random_matrix<float>(gpu, r, width, 6), dB = random_matrix<float>(gpu, width, r, 7);
  const Weight wA{A.data, DType::F32, r, width, width}, wB{B.data, DType::F32, width, r, r};
  const double one = 2.0 * tokens * width;
  const std::string end = cat("/", tokens, "x", width, "/r", r);
  using matmul = k::matmul<Cuda>;
  const auto line = [&](const char* what, double bytes, const std::function<void()>& f) {
    const std::string name = what + end;
    if (gpu.wanted(name)) report_bytes(gpu, name, seconds_per_call(gpu, 8, [&](int) { f(); }), bytes);
  };
  const auto s = gpu.stream();
  line("adapter/h=xA'", one, [&] { matmul::forward(s, k::MatmulFwd<bf16>{.x = x, .w = wA, .y = h}); });
  line("adapter/y+=hB'", 2 * one,
       [&] { matmul::forward(s, k::MatmulFwd<bf16>{.x = h, .w = wB, .y = y, .alpha = 2, .beta = 1}); });
  line("adapter/dh=dyB", one,
       [&] { matmul::backward_input(s, k::MatmulBwdInput<bf16>{.dy = y, .w = wB, .dx = h, .alpha = 2}); });
  line("adapter/dx+=dhA", 2 * one,
       [&] { matmul::backward_input(s, k::MatmulBwdInput<bf16>{.dy = h, .w = wA, .dx = x, .beta = 1}); });
  line("adapter/dB+=dy'h", one,
       [&] { matmul::backward_weight(s, k::MatmulBwdWeight<bf16>{.dy = y, .x = h, .dw = dB, .alpha = 2}); });
  line("adapter/dA+=dh'x", one,
       [&] { matmul::backward_weight(s, k::MatmulBwdWeight<bf16>{.dy = h, .x = x, .dw = dA}); });
}

/// Decode: weights that no cache holds between calls, 600 MB of them in turn.
void bench_few_rows(Gpu& gpu, int rows, int out, int in) {
  const std::string name = cat("few_rows/", rows, "x", in, "->", out);
  if (!gpu.wanted(name)) return;
  Arena::Scope scope(gpu.memory);
  const double bytes = 2.0 * out * in;
  const int copies = std::max(2, static_cast<int>(600e6 / bytes));
  const auto x = random_matrix<bf16>(gpu, rows, in, 1), y = random_matrix<bf16>(gpu, rows, out, 2);
  const auto w = random_matrix<bf16>(gpu, out * copies, in, 3, 0.02f);
  const auto run = [&](int i) {
    const Matrix<bf16> one = w.row_range(i % copies * out, out);
    k::matmul<Cuda>::forward(gpu.stream(), k::MatmulFwd<bf16>{.x = x, .w = weight_of(one), .y = y});
  };
  const double seconds = seconds_per_call(gpu, copies, run);
  run(0);
  expect_product(
      gpu, name, y, 0, [&](int i) { return fetch(gpu, x.row(i), in); },
      [&](int j) { return fetch(gpu, w.row(j), in); });
  report_bytes(gpu, name, seconds, bytes);
}

void bench_head_loss(Gpu& gpu, int rows, int width, int vocab) {
  const std::string end = cat("/", rows, "x", width, "x", vocab);
  Arena::Scope scope(gpu.memory);
  const auto x = random_matrix<bf16>(gpu, rows, width, 1), dx = random_matrix<bf16>(gpu, rows, width, 2);
  const auto w = random_matrix<bf16>(gpu, vocab, width, 3, 0.02f);
  const std::vector<int> target(rows, 17);
  const std::vector<float> weight(rows, 1.0f / static_cast<float>(rows));
  int* there = gpu.memory.take<int>(rows);
  float *weight_there = gpu.memory.take<float>(rows), *nll = gpu.memory.take<float>(rows);
  Memory<Cuda>::upload(gpu.stream(), there, target.data(), rows * sizeof(int));
  Memory<Cuda>::upload(gpu.stream(), weight_there, weight.data(), rows * sizeof(float));
  k::HeadLoss<bf16> a{.x = x, .w = weight_of(w), .target = there, .weight = weight_there, .nll = nll, .dx = dx};
  if (gpu.wanted("head_loss/train" + end))
    report_flops("head_loss/train" + end,
                 seconds_per_call(gpu, 1, [&](int) { k::head_loss<Cuda>::run(gpu.stream(), a); }),
                 4.0 * rows * width * vocab);
  a.dx = {};
  if (gpu.wanted("head_loss/evaluate" + end))
    report_flops("head_loss/evaluate" + end,
                 seconds_per_call(gpu, 1, [&](int) { k::head_loss<Cuda>::run(gpu.stream(), a); }),
                 2.0 * rows * width * vocab);
  if (gpu.wanted("head_loss/softmax" + end)) {
    const int chunk = k::head_loss<Cuda>::chunk_rows<bf16>(rows, vocab);
    const std::ptrdiff_t stride = k::head_loss<Cuda>::logits_stride(vocab);
    const Matrix<bf16> z(random_values<bf16>(gpu, chunk * stride, 9), chunk, vocab, stride);
    report_bytes(
        gpu, cat("head_loss/softmax/", chunk, "x", vocab),
        seconds_per_call(gpu, 2,
                         [&](int) { k::cuda::softmax_loss_rows(gpu.stream(), z, there, weight_there, nullptr, nll); }),
        4.0 * chunk * vocab);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (std::string why; !CudaDevice::available(&why)) {
    std::printf("skipped: %s\n", why.c_str());
    return 0;
  }
  Gpu gpu(std::size_t{6} << 30, std::size_t{2} << 30, argc > 1 ? argv[1] : "");
  gpu.read_bytes_per_s = measure_read_bytes_per_s(gpu);
  std::printf("%s, reads %.2f TB/s\n", gpu.device->name().c_str(), gpu.read_bytes_per_s * 1e-12);
  bench_layers(gpu);
  for (const auto& [tokens, width] : {std::pair{4800, 2048}, {16384, 2048}, {16384, 6144}}) {
    for (const int r : {8, 16, 32, 64}) bench_adapter(gpu, tokens, width, r);
  }
  for (const int rows : {1, 8, 16, 64, 128, 256}) {
    for (const auto& [layer, out, in] : layers) bench_few_rows(gpu, rows, out, in);
    bench_few_rows(gpu, rows, 151936, 2048);
    for (const auto& [layer, out, in] : layers_8b) bench_few_rows(gpu, rows, out, in);
  }
  bench_head_loss(gpu, 8192, 2048, 151936);
}
