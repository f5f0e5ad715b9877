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

template <class... P, class... A>
void launch_dependent_shared(Stream<Cuda> s, void (*kernel)(P...), dim3 grid, dim3 threads, int shared_bytes,
                             A... arguments) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = threads;
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = s.handle;
  config.attrs = &early;
  config.numAttrs = s.device->compute_capability() >= 90 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, P(arguments)...), "cudaLaunchKernelEx");
}
template <class... P, class... A>
void launch_dependent(Stream<Cuda> s, void (*kernel)(P...), dim3 grid, int threads, A... arguments) {
  launch_dependent_shared(s, kernel, grid, dim3(threads), 0, arguments...);
}

}  // namespace lamina::kernel::cuda
