#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>

/// Kernels that start while the one before them in the stream still ends: programmatic dependent launch, sm_90. What
/// they do before wait_for_earlier() overlaps with it, so that may only read what no kernel just before them writes.
namespace lamina::kernel::cuda {

/// From here on the next kernel's blocks may start if there is room, if it was launched by launch_dependent.
__device__ inline void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Returns when all kernels before this one have ended and their results can be read.
__device__ inline void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// For a kernel that begins with this: it starts early, and so does the next one, but not before all kernels ahead of
/// this one have ended.
__device__ inline void start_in_turn() {
  wait_for_earlier();
  let_next_start();
}
/// Up to so many tokens, products are many small blocks (streamed_product.cuh), which spread over the multiprocessors
/// only if those are free when they start.
inline constexpr int most_streamed_tokens = 8;
/// For a kernel of a decoding step: between that and 64 tokens those after it start at once, however many kernels ahead
/// are still at work, and find their place and their weights (weight_product.cuh) while these are. Kernels that write
/// weights let none start.
__device__ inline void start_early(int tokens) {
  if (tokens <= most_streamed_tokens || tokens > 64) return start_in_turn();
  let_next_start();
  wait_for_earlier();
}

/// How a kernel is launched. grid.x is a multiple of cluster: so many neighbouring blocks run at the same time and
/// reach each other's shared memory, which is sm_90's alone; 1: each for itself.
struct LaunchShape {
  dim3 grid, threads;
  int shared_bytes = 0, cluster = 1;
  bool dependent = true;  ///< starts early; false: an ordinary launch
};
template <class... P, class... A>
void launch(Stream<Cuda> s, void (*kernel)(P...), const LaunchShape& how, A... arguments) {
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config{};
  if (how.dependent && s.device->compute_capability() >= 90) {
    cudaLaunchAttribute& early = attributes[config.numAttrs++];
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
  }
  if (how.cluster > 1) {
    cudaLaunchAttribute& together = attributes[config.numAttrs++];
    together.id = cudaLaunchAttributeClusterDimension;
    together.val.clusterDim = {static_cast<unsigned>(how.cluster), 1, 1};
  }
  config.gridDim = how.grid;
  config.blockDim = how.threads;
  config.dynamicSmemBytes = static_cast<std::size_t>(how.shared_bytes);
  config.stream = s.handle;
  config.attrs = attributes;
  check(cudaLaunchKernelEx(&config, kernel, P(arguments)...), "cudaLaunchKernelEx");
}
template <class... P, class... A>
void launch_dependent_shared(Stream<Cuda> s, void (*kernel)(P...), dim3 grid, dim3 threads, int shared_bytes,
                             A... arguments) {
  launch(s, kernel, {.grid = grid, .threads = threads, .shared_bytes = shared_bytes}, arguments...);
}
template <class... P, class... A>
void launch_dependent(Stream<Cuda> s, void (*kernel)(P...), dim3 grid, int threads, A... arguments) {
  launch_dependent_shared(s, kernel, grid, dim3(threads), 0, arguments...);
}

}  // namespace lamina::kernel::cuda
