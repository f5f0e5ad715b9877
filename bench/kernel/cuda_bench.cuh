#pragma once
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include <lamina/kernel/cuda/device/device.cuh>

/// Timing kernels on the GPU: calls in a graph, so that the host's launches do not count; best of several runs.
namespace lamina::bench {

/// What the benchmarks run on: memory for inputs, scratch for kernels, which lines were asked for.
struct Gpu {
  std::unique_ptr<CudaDevice> device = CudaDevice::open();
  Arena memory, scratch;
  std::string filter;
  double read_bytes_per_s = 0;

  Gpu(std::size_t memory_bytes, std::size_t scratch_bytes, std::string only)
      : memory(memory_bytes, Memory<Cuda>{}), scratch(scratch_bytes, Memory<Cuda>{}), filter(std::move(only)) {}
  Stream<Cuda> stream() { return device->stream(&scratch); }
  bool wanted(const std::string& name) const { return name.find(filter) != std::string::npos; }
};

template <class T>
__global__ void fill_random(T* to, std::size_t n, unsigned seed, float scale) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < n;
       i += std::size_t{gridDim.x} * blockDim.x) {
    unsigned h = static_cast<unsigned>(i) * 2654435761u + seed * 97u;
    h = (h ^ (h >> 15)) * 2246822519u;
    h = (h ^ (h >> 13)) * 3266489917u;
    h ^= h >> 16;
    to[i] = kernel::cuda::narrow<T>(scale * (static_cast<float>(h) * 0x1p-31f - 1));
  }
}
/// n values, uniform in [-scale, scale).
template <class T>
T* random_values(Gpu& gpu, std::size_t n, unsigned seed, float scale = 1) {
  T* p = gpu.memory.take<T>(n);
  fill_random<<<1024, 256, 0, gpu.stream().handle>>>(p, n, seed, scale);
  kernel::cuda::check_launch("fill_random");
  return p;
}
template <class T>
Matrix<T> random_matrix(Gpu& gpu, int rows, int cols, unsigned seed, float scale = 1) {
  return {random_values<T>(gpu, static_cast<std::size_t>(rows) * cols, seed, scale), rows, cols};
}

/// Seconds of one call: the best of `rounds` replays of a graph of `calls` calls, i -> f(i).
inline double seconds_per_call(Gpu& gpu, int calls, const std::function<void(int)>& f, int rounds = 4) {
  using kernel::cuda::check;
  const auto stream = gpu.stream().handle;
  for (int i = 0; i < calls; ++i) f(i);  // loads kernels, chooses algorithms
  gpu.device->wait();
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < calls; ++i) f(i);
  check(cudaStreamEndCapture(stream, &graph), "capture");
  check(cudaGraphInstantiate(&executable, graph, 0), "instantiate");
  cudaEvent_t start, stop;
  cudaEventCreate(&start), cudaEventCreate(&stop);
  float best_ms = 1e30f;
  for (int r = 0; r < rounds; ++r) {
    cudaEventRecord(start, stream);
    check(cudaGraphLaunch(executable, stream), "graph");
    cudaEventRecord(stop, stream);
    check(cudaEventSynchronize(stop), "graph");
    float ms = 0;
    cudaEventElapsedTime(&ms, start, stop);
    best_ms = std::min(best_ms, ms);
  }
  cudaEventDestroy(start), cudaEventDestroy(stop);
  cudaGraphExecDestroy(executable), cudaGraphDestroy(graph);
  return best_ms * 1e-3 / calls;
}

__global__ void __launch_bounds__(512) read_all(const uint4* from, std::size_t n, unsigned* to) {
  unsigned sum = 0;
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
#pragma unroll 8
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < n; i += step) {
    const uint4 v = __ldcs(from + i);
    sum ^= v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == 0x12345678u) *to = sum;
}
/// The roof of reading: 1 GiB, far beyond L2.
inline double measure_read_bytes_per_s(Gpu& gpu) {
  const std::size_t bytes = std::size_t{1} << 30;
  Arena::Scope scope(gpu.memory);
  auto* from = reinterpret_cast<uint4*>(gpu.memory.take<std::byte>(bytes));
  auto* to = gpu.memory.take<unsigned>(1);
  return bytes / seconds_per_call(gpu, 4, [&](int) {
           read_all<<<gpu.device->multiprocessors() * 4, 512, 0, gpu.stream().handle>>>(from, bytes / 16, to);
         });
}

inline void report_flops(const std::string& name, double seconds, double flops) {
  std::printf("%-52s %9.1f us  %6.0f TFLOP/s\n", name.c_str(), seconds * 1e6, flops / seconds * 1e-12);
}
/// bytes: what the operation must move at least.
inline void report_bytes(Gpu& gpu, const std::string& name, double seconds, double bytes) {
  std::printf("%-52s %9.2f us  %6.2f TB/s  %3.0f%% of the read roof, %.2f x the floor\n", name.c_str(), seconds * 1e6,
              bytes / seconds * 1e-12, 100 * bytes / seconds / gpu.read_bytes_per_s,
              seconds * gpu.read_bytes_per_s / bytes);
}

}  // namespace lamina::bench
