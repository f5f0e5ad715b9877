// Memory-bound kernels beside a copy of the same bytes. Answers are checked first, on a few rows, against the CPU's.
//
//   bench_kernel_rows [substring of the lines wanted]
#include <lamina/kernel/cpu/norm/add_norm.hpp>
#include <lamina/kernel/cpu/norm/norm_rope.hpp>
#include <lamina/kernel/cuda/elementwise/activation.cuh>
#include <lamina/kernel/cuda/elementwise/add.cuh>
#include <lamina/kernel/cuda/elementwise/convert.cuh>
#include <lamina/kernel/cuda/elementwise/dropout.cuh>
#include <lamina/kernel/cuda/norm/add_norm.hpp>
#include <lamina/kernel/cuda/norm/layer_norm.hpp>
#include <lamina/kernel/cuda/norm/norm_rope.cuh>
#include <lamina/kernel/cuda/norm/norm_rows.cuh>
#include <lamina/kernel/cuda/norm/rms_norm.hpp>
#include <lamina/kernel/cuda/optimizer/optimizer.cuh>
#include <lamina/kernel/cuda/rows/embedding.cuh>
#include <lamina/kernel/cuda/rows/rows.cuh>

#include <cmath>
#include <vector>

#include "cuda_bench.cuh"

using namespace lamina;
using namespace lamina::bench;
using namespace lamina::kernel;
using T = bf16;

namespace {

double copy_bytes_per_s = 0;
bool all_right = true;

/// Times f(set) for sets 0, 1, 2 in turn: inputs that no cache keeps. bytes: what it must move at least.
void time_kernel(Gpu& gpu, const std::string& name, double bytes, const std::function<void(int)>& f) {
  const double s = seconds_per_call(gpu, 6, [&](int i) { f(i % 3); });
  std::printf("%-44s %8.1f us  %5.2f TB/s  %3.0f%% of copy\n", name.c_str(), s * 1e6, bytes / s * 1e-12,
              100 * bytes / s / copy_bytes_per_s);
}

struct copy_pieces {
  const uint4* from;
  uint4* to;
  template <int Each>
  __device__ void at(int row, int column) const {
    to[row * std::size_t{1024} + column] = from[row * std::size_t{1024} + column];
  }
};
/// The roof: 16 bytes per thread from one 512 MiB to another, or cudaMemcpy, whichever is faster; bytes read and
/// written.
void measure_copy(Gpu& gpu) {
  const std::size_t bytes = std::size_t{512} << 20;
  Arena::Scope scope(gpu.memory);
  auto* from = reinterpret_cast<uint4*>(gpu.memory.take<std::byte>(bytes));
  auto* to = reinterpret_cast<uint4*>(gpu.memory.take<std::byte>(bytes));
  const double own = seconds_per_call(gpu, 4, [&](int) {
    cuda::launch_elementwise<1>(gpu.stream(), bytes / 16384, 1024, true, copy_pieces{from, to}, "copy");
  });
  const double driver = seconds_per_call(
      gpu, 4, [&](int) { cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, gpu.stream().handle); });
  copy_bytes_per_s = 2 * bytes / std::min(own, driver);
  std::printf("copy of 512 MiB: own %.2f TB/s, cudaMemcpy %.2f TB/s\n", 2e-12 * bytes / own, 2e-12 * bytes / driver);
}

template <class U>
std::vector<U> download(Gpu& gpu, const U* from, std::size_t n) {
  std::vector<U> host(n);
  Memory<Cuda>::download(gpu.stream(), host.data(), from, n * sizeof(U));
  gpu.device->wait();
  return host;
}
/// Says so if values differ by more than two roundings to bf16 of values of this size.
void check(const std::string& name, const std::vector<T>& got, const std::vector<T>& want, float size = 4) {
  float worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const float d = std::fabs(to_f32(got[i]) - to_f32(want[i]));
    worst = std::isfinite(d) ? std::max(worst, d / std::max(std::fabs(to_f32(want[i])), 0.01f * size)) : INFINITY;
  }
  if (worst <= 2 * 0x1p-8f) return;
  all_right = false;
  std::printf("WRONG: %s: relative error %g\n", name.c_str(), worst);
}

constexpr int check_rows = 3;

std::string label(const char* op, int rows, int cols) { return cat(op, "/bf16/", rows, "x", cols); }

/// Inputs of a set: rows of activations, gradients and statistics.
template <int D>
struct NormSet {
  View<T, Dyn, D> x, s, dy, y;
  View<T, D> g, b;
  float *r, *mean;
  NormSet(Gpu& gpu, int n)
      : x(random_values<T>(gpu, std::size_t(n) * D, 1), n),
        s(random_values<T>(gpu, std::size_t(n) * D, 2), n),
        dy(random_values<T>(gpu, std::size_t(n) * D, 3), n),
        y(gpu.memory.take<T>(std::size_t(n) * D), n),
        g(random_values<T>(gpu, D, 4)),
        b(random_values<T>(gpu, D, 5)),
        r(gpu.memory.take<float>(n)),
        mean(gpu.memory.take<float>(n)) {}
};

/// The first rows of v in host memory, which keep keeps.
template <int D>
View<T, Dyn, D> on_host(Gpu& gpu, View<T, Dyn, D> v, std::vector<std::vector<T>>& keep) {
  keep.push_back(download(gpu, v.data(), std::size_t(check_rows) * D));
  return View<T, Dyn, D>(keep.back().data(), check_rows);
}

template <int D>
void check_norms(Gpu& gpu, NormSet<D> a) {
  std::vector<std::vector<T>> keep;
  const auto x = on_host(gpu, a.x, keep), s = on_host(gpu, a.s, keep), dy = on_host(gpu, a.dy, keep);
  const auto y = on_host(gpu, a.y, keep);
  keep.push_back(download(gpu, a.g.data(), D));
  const View<const T, D> g(keep.back().data());
  std::vector<float> r(check_rows);
  const auto got = [&] { return download(gpu, a.y.data(), std::size_t(check_rows) * D); };
  const auto want = [&] { return std::vector<T>(y.data(), y.data() + std::size_t(check_rows) * D); };
  rms_norm<Cuda>::forward(gpu.stream(), RMSNormFwd<T, D>{a.x, a.g, a.y, a.r}, 1e-6f);
  rms_norm<Cpu>::forward({}, RMSNormFwd<T, D>{x, g, y, r.data()}, 1e-6f);
  check("rms_norm_fwd", got(), want());
  add_rms_norm<Cuda>::backward(gpu.stream(), AddRMSNormBwd<T, D>{a.x, a.g, a.r, a.dy, a.s, a.y});
  add_rms_norm<Cpu>::backward({}, AddRMSNormBwd<T, D>{x, g, r.data(), dy, s, y});
  check("add_rms_norm_bwd", got(), want());
}

template <int D>
void bench_norms(Gpu& gpu, int n) {
  Arena::Scope scope(gpu.memory);
  std::vector<NormSet<D>> sets;
  for (int i = 0; i < 3; ++i) sets.emplace_back(gpu, n);
  check_norms(gpu, sets[0]);
  float *dg = random_values<float>(gpu, D, 6), *db = random_values<float>(gpu, D, 7);
  const double tensor = double{sizeof(T)} * n * D;
  const Stream<Cuda> s = gpu.stream();
  const auto time = [&](const char* op, double tensors, auto f) {
    const std::string name = label(op, n, D);
    if (gpu.wanted(name)) time_kernel(gpu, name, tensors * tensor, [&](int i) { f(sets[i]); });
  };
  using Set = NormSet<D>;
  time("rms_norm/fwd", 2, [&](Set& a) { rms_norm<Cuda>::forward(s, RMSNormFwd<T, D>{a.x, a.g, a.y, a.r}, 1e-6f); });
  time("add_rms_norm/fwd", 4, [&](Set& a) {
    add_rms_norm<Cuda>::forward(s, AddRMSNormFwd<T, D>{a.x, a.g, a.s, a.y, a.r}, 1e-6f);
  });
  time("rms_norm/bwd", 3, [&](Set& a) { rms_norm<Cuda>::backward(s, RMSNormBwd<T, D>{a.x, a.g, a.r, a.dy, a.y}); });
  time("rms_norm/bwd+gain", 3, [&](Set& a) {
    rms_norm<Cuda>::backward(s, RMSNormBwd<T, D>{a.x, a.g, a.r, a.dy, a.y, dg});
  });
  time("add_rms_norm/bwd", 4, [&](Set& a) {
    add_rms_norm<Cuda>::backward(s, AddRMSNormBwd<T, D>{a.x, a.g, a.r, a.dy, a.s, a.y});
  });
  time("add_rms_norm/bwd+gain", 4, [&](Set& a) {
    add_rms_norm<Cuda>::backward(s, AddRMSNormBwd<T, D>{a.x, a.g, a.r, a.dy, a.s, a.y, dg});
  });
  time("layer_norm/fwd", 2, [&](Set& a) {
    layer_norm<Cuda>::forward(s, LayerNormFwd<T, D>{a.x, a.g, a.b, a.y, a.mean, a.r}, 1e-6f);
  });
  time("layer_norm/bwd", 3, [&](Set& a) {
    layer_norm<Cuda>::backward(s, LayerNormBwd<T, D>{a.x, a.g, a.mean, a.r, a.dy, a.y});
  });
  time("layer_norm/bwd+gain", 3, [&](Set& a) {
    layer_norm<Cuda>::backward(s, LayerNormBwd<T, D>{a.x, a.g, a.mean, a.r, a.dy, a.y, dg, db});
  });
}

/// q (16 heads) and k (8 heads) lie in a matrix that holds v as well, as models have them.
void bench_rope(Gpu& gpu, int n, int heads, int head_dim) {
  Arena::Scope scope(gpu.memory);
  const int width = heads * head_dim, wide = width + width / 2 * 2;
  std::vector<Matrix<T>> x, y;
  for (int i = 0; i < 3; ++i) {
    x.push_back(random_matrix<T>(gpu, n, wide, 1).columns(0, width));
    y.push_back(random_matrix<T>(gpu, n, width, 2));
  }
  const T* g = random_values<T>(gpu, head_dim, 3);
  float* dg = random_values<float>(gpu, head_dim, 4);
  const Matrix<float> cos = random_matrix<float>(gpu, n, head_dim / 2, 5),
                      sin = random_matrix<float>(gpu, n, head_dim / 2, 6);
  {
    NormRopeFwd<T> a{x[0], g, cos, sin, y[0], head_dim, 1e-6f};
    norm_rope<Cuda>::forward(gpu.stream(), a);
    const auto got = download(gpu, y[0].data, std::size_t(check_rows) * width);
    auto hx = download(gpu, x[0].data, std::size_t(check_rows) * wide), hg = download(gpu, g, head_dim), hy = got;
    auto hc = download(gpu, cos.data, std::size_t(check_rows) * head_dim / 2);
    auto hs = download(gpu, sin.data, std::size_t(check_rows) * head_dim / 2);
    norm_rope<Cpu>::forward({}, NormRopeFwd<T>{Matrix<const T>(hx.data(), check_rows, width, wide), hg.data(),
                                               Matrix<const float>(hc.data(), check_rows, head_dim / 2),
                                               Matrix<const float>(hs.data(), check_rows, head_dim / 2),
                                               Matrix<T>(hy.data(), check_rows, width), head_dim, 1e-6f});
    check("norm_rope_fwd", got, hy);
  }
  const double tensor = double{sizeof(T)} * n * width, tables = 4.0 * n * head_dim;
  const auto time = [&](const char* op, double bytes, auto f) {
    const std::string name = cat(op, "/bf16/", n, "x", heads, "x", head_dim);
    if (gpu.wanted(name)) time_kernel(gpu, name, bytes, f);
  };
  time("norm_rope/fwd", 2 * tensor + tables, [&](int i) {
    norm_rope<Cuda>::forward(gpu.stream(), NormRopeFwd<T>{x[i], g, cos, sin, y[i], head_dim, 1e-6f});
  });
  const auto k = [&](int i) { return Matrix<T>(x[i].data + width, n, width / 2, wide); };
  time("norm_rope/fwd q+k", 3 * tensor + tables, [&](int i) {
    norm_rope<Cuda>::forward(gpu.stream(), NormRopeFwd<T>{x[i], g, cos, sin, y[i], head_dim, 1e-6f},
                             NormRopeFwd<T>{k(i), g, cos, sin, k(i), head_dim, 1e-6f});
  });
  time("rope/fwd", 2 * tensor + tables, [&](int i) {
    norm_rope<Cuda>::forward(gpu.stream(), NormRopeFwd<T>{x[i], nullptr, cos, sin, y[i], head_dim, 1e-6f});
  });
  time("norm_rope/bwd", 3 * tensor + tables, [&](int i) {
    norm_rope<Cuda>::backward(gpu.stream(), NormRopeBwd<T>{x[i], g, cos, sin, y[i], y[i], nullptr, head_dim, 1e-6f});
  });
  time("norm_rope/bwd+gain", 3 * tensor + tables, [&](int i) {
    norm_rope<Cuda>::backward(gpu.stream(), NormRopeBwd<T>{x[i], g, cos, sin, y[i], y[i], dg, head_dim, 1e-6f});
  });
  time("rope/bwd", 2 * tensor + tables, [&](int i) {
    norm_rope<Cuda>::backward(gpu.stream(),
                              NormRopeBwd<T>{x[i], nullptr, cos, sin, y[i], y[i], nullptr, head_dim, 1e-6f});
  });
}

void bench_silu(Gpu& gpu, int n, int F) {
  Arena::Scope scope(gpu.memory);
  std::vector<Matrix<T>> x, y, dx;
  for (int i = 0; i < 3; ++i) {
    x.push_back(random_matrix<T>(gpu, n, 2 * F, 1, 4));
    y.push_back(random_matrix<T>(gpu, n, F, 2));
    dx.push_back(gpu.memory.matrix<T>(n, 2 * F));
  }
  silu_gate<Cuda>::forward(gpu.stream(), SiluGateFwd<T>{x[0], y[0]});
  const auto got = download(gpu, y[0].data, F), hx = download(gpu, x[0].data, 2 * F);
  auto want = got;
  for (int i = 0; i < F; ++i) want[i] = round_to<T>(to_f32(hx[i]) / (1 + std::exp(-to_f32(hx[i]))) * to_f32(hx[F + i]));
  check("silu_gate_fwd", got, want);
  const double tensor = double{sizeof(T)} * n * F;
  const std::string fwd = label("silu_gate/fwd", n, F), bwd = label("silu_gate/bwd", n, F);
  if (gpu.wanted(fwd))
    time_kernel(gpu, fwd, 3 * tensor, [&](int i) {
      silu_gate<Cuda>::forward(gpu.stream(), SiluGateFwd<T>{x[i], y[i]});
    });
  if (gpu.wanted(bwd))
    time_kernel(gpu, bwd, 5 * tensor, [&](int i) {
      silu_gate<Cuda>::backward(gpu.stream(), SiluGateBwd<T>{x[i], y[i], dx[i]});
    });
}

/// What takes one or two matrices of one shape.
void bench_elements(Gpu& gpu, int n, int D) {
  Arena::Scope scope(gpu.memory);
  std::vector<Matrix<T>> x, y, z;
  for (int i = 0; i < 3; ++i) {
    x.push_back(random_matrix<T>(gpu, n, D, 1, 4));
    y.push_back(random_matrix<T>(gpu, n, D, 2));
    z.push_back(random_matrix<T>(gpu, n, D, 2));
  }
  std::vector<int> order(n);
  for (int i = 0; i < n; ++i) order[i] = static_cast<int>(static_cast<std::int64_t>(i) * 4097 % n);  // n = 2^k: all
  int* index = gpu.memory.take<int>(n);
  Memory<Cuda>::upload(gpu.stream(), index, order.data(), order.size() * sizeof(int));
  const double tensor = double{sizeof(T)} * n * D;
  const Stream<Cuda> s = gpu.stream();
  const auto time = [&](const char* op, double tensors, auto f) {
    const std::string name = label(op, n, D);
    if (gpu.wanted(name)) time_kernel(gpu, name, tensors * tensor, f);
  };
  time("gelu_erf/fwd", 2, [&](int i) { activation<Cuda>::forward(s, GeluErf{}, ActivationFwd<T>{x[i], y[i]}); });
  time("gelu_erf/bwd", 3, [&](int i) { activation<Cuda>::backward(s, GeluErf{}, ActivationBwd<T>{x[i], y[i], z[i]}); });
  time("gelu_tanh/fwd", 2, [&](int i) { activation<Cuda>::forward(s, GeluTanh{}, ActivationFwd<T>{x[i], y[i]}); });
  time("gelu_tanh/bwd", 3, [&](int i) {
    activation<Cuda>::backward(s, GeluTanh{}, ActivationBwd<T>{x[i], y[i], z[i]});
  });
  time("add", 3, [&](int i) { add<Cuda>::forward(s, Add<T>{x[i], y[i]}); });
  time("copy", 2, [&](int i) { add<Cuda>::copy(s, Add<T>{x[i], y[i]}); });
  time("copy half the columns", 1, [&](int i) {
    add<Cuda>::copy(s, Add<T>{x[i].columns(0, D / 2), y[i].columns(D / 2, D / 2)});
  });
  time("dropout", 2, [&](int i) { dropout<Cuda>::forward(s, DropoutMask{0.05f, 7}, Dropout<T>{x[i], y[i]}); });
  time("rows_gather", 2, [&](int i) { rows<Cuda>::gather(s, n, Rows<T>{x[i], index, y[i]}); });
  time("rows_scatter_add", 3, [&](int i) { rows<Cuda>::scatter_add(s, n, Rows<T>{x[i], index, y[i]}); });
  time("zero", 1, [&](int i) { rows<Cuda>::zero(s, y[i]); });
  const Convert<T, float> widen{x[0].data, reinterpret_cast<float*>(y[0].data), std::size_t(n) * D / 2};
  time("convert to fp32 (half)", 1.5, [&](int i) {
    convert<Cuda>::run(s, Convert<T, float>{x[i].data, reinterpret_cast<float*>(y[i].data), widen.n});
  });
}

void bench_embedding(Gpu& gpu, int n, int V, int D) {
  Arena::Scope scope(gpu.memory);
  const Matrix<T> w = random_matrix<T>(gpu, V, D, 1), y = random_matrix<T>(gpu, n, D, 2);
  const Matrix<float> dw = random_matrix<float>(gpu, V, D, 3);
  std::vector<int> ids(n);
  for (int i = 0; i < n; ++i) ids[i] = i % 8 == 0 ? 198 : static_cast<int>(i * 2654435761u % V);  // 1 in 8: a new line
  int* on_gpu = gpu.memory.take<int>(n);
  Memory<Cuda>::upload(gpu.stream(), on_gpu, ids.data(), ids.size() * sizeof(int));
  const double tensor = double{sizeof(T)} * n * D;
  const std::string fwd = label("embedding/fwd", n, D), bwd = label("embedding/bwd", n, D);
  if (gpu.wanted(fwd))
    time_kernel(gpu, fwd, 2 * tensor, [&](int) {
      embedding<Cuda>::forward(gpu.stream(), EmbeddingFwd<T>{on_gpu, {w.data, DType::BF16, V, D, D}, y});
    });
  if (gpu.wanted(bwd))  // reads dy, reads and writes fp32 rows
    time_kernel(gpu, bwd, 5 * tensor, [&](int) {
      embedding<Cuda>::backward(gpu.stream(), EmbeddingBwd<T>{on_gpu, y, dw});
    });
}

void bench_learned_position(Gpu& gpu, int n, int table_rows, int D) {
  Arena::Scope scope(gpu.memory);
  const Matrix<T> w = random_matrix<T>(gpu, table_rows, D, 1), x = random_matrix<T>(gpu, n, D, 2);
  const Matrix<T> y = random_matrix<T>(gpu, n, D, 2);
  const Matrix<float> dw = random_matrix<float>(gpu, table_rows, D, 3), weight = random_matrix<float>(gpu, n, 4, 4);
  std::vector<int> row(4 * n);
  for (int i = 0; i < 4 * n; ++i) row[i] = (i / 4 + i % 4) % table_rows;
  int* on_gpu = gpu.memory.take<int>(row.size());
  Memory<Cuda>::upload(gpu.stream(), on_gpu, row.data(), row.size() * sizeof(int));
  const double tensor = double{sizeof(T)} * n * D;
  const std::string fwd = label("learned_position/fwd", n, D), bwd = label("learned_position/bwd", n, D);
  if (gpu.wanted(fwd))
    time_kernel(gpu, fwd, 2 * tensor, [&](int) {
      learned_position<Cuda>::forward(
          gpu.stream(), LearnedPositionFwd<T>{x, {w.data, DType::BF16, table_rows, D, D}, on_gpu, weight.data, y});
    });
  if (gpu.wanted(bwd))
    time_kernel(gpu, bwd, tensor, [&](int) {
      learned_position<Cuda>::backward(gpu.stream(), LearnedPositionBwd<T>{x, on_gpu, weight.data, dw});
    });
}

void bench_optimizer(Gpu& gpu, std::size_t n) {
  Arena::Scope scope(gpu.memory);
  T* copy = gpu.memory.take<T>(n);
  const auto runs = value_runs<T>({0, n}, {{n / 2}, {n, 1, false}}, {{0, n, copy, 4096, 4096}});
  UpdateStep<T> a{.w = random_values<float>(gpu, n, 1), .g = random_values<float>(gpu, n, 2)};
  a.m = random_values<float>(gpu, n, 3), a.v = gpu.memory.take<float>(n);
  cudaMemsetAsync(a.v, 0, n * sizeof(float), gpu.stream().handle);
  const auto upload = [&](const auto* from, std::size_t count) {
    auto* to = gpu.memory.take<std::remove_cvref_t<decltype(*from)>>(count);
    Memory<Cuda>::upload(gpu.stream(), to, from, count * sizeof *from);
    return to;
  };
  const OptimizerNumbers numbers{1, 0.9f, 0.999f, 0.1f, 0.001f, 1e-8f, 1, 1e-3f, 1};
  const Clip none;
  Clip* clip = upload(&none, 1);
  a.runs = upload(runs.data(), runs.size()), a.count = static_cast<int>(runs.size());
  a.numbers = upload(&numbers, 1), a.clip = clip;
  const std::string clips = cat("clip/fp32/", n), steps = cat("adamw/fp32+bf16/", n), both = cat("step/fp32+bf16/", n);
  const auto run_clip = [&] { optimizer<Cuda>::clip(gpu.stream(), ClipGradients{a.g, n, a.numbers, clip}); };
  if (gpu.wanted(clips)) time_kernel(gpu, clips, 4.0 * n, [&](int) { run_clip(); });
  if (gpu.wanted(steps))
    time_kernel(gpu, steps, 34.0 * n, [&](int) { optimizer<Cuda>::update(gpu.stream(), OptimizerKind::adamw, a); });
  if (gpu.wanted(both))
    time_kernel(gpu, both, 38.0 * n,
                [&](int) { run_clip(), optimizer<Cuda>::update(gpu.stream(), OptimizerKind::adamw, a); });
}

}  // namespace

int main(int argc, char** argv) {
  Gpu gpu(std::size_t{8} << 30, std::size_t{1} << 28, argc > 1 ? argv[1] : "");
  std::printf("%s, best of 4 runs\n", gpu.device->name().c_str());
  measure_copy(gpu);
  bench_norms<2048>(gpu, 16384);
  bench_norms<2048>(gpu, 32768);
  bench_norms<1024>(gpu, 32768);
  bench_norms<4096>(gpu, 16384);
  bench_rope(gpu, 16384, 16, 128);
  bench_rope(gpu, 32768, 8, 128);
  bench_rope(gpu, 32768, 16, 64);
  bench_silu(gpu, 16384, 6144);
  bench_elements(gpu, 16384, 4096);
  bench_embedding(gpu, 32768, 151936, 2048);
  bench_learned_position(gpu, 32768, 2304, 1024);
  bench_optimizer(gpu, std::size_t{1} << 23);
  bench_optimizer(gpu, std::size_t{1} << 26);
  return all_right ? 0 : 1;
}
