#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/device/requirements.hpp>

/// Definitions of what core/machine/memory.hpp and kernel/cuda/device/device.hpp declare. gnu::used: plain C++ calls
/// them, so a translation unit that includes this emits them.
namespace lamina {

namespace kernel::cuda {
inline cudaDeviceProp properties_of(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  return properties;
}
/// The number of the GPU that a process opens.
inline int gpu_of(int local_rank) {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0 ? local_rank % count : 0;
}
/// Why a GPU cannot be used, "" if it can.
inline std::string why_not_gpu(int index) {
  int count = 0, driver = 0;
  cudaDriverGetVersion(&driver);
  if (std::string why = why_not_driver(driver, CUDART_VERSION); !why.empty()) return why;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess || count == 0)
    return cat("no GPU was found (", cudaGetErrorString(status),
               "): look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use device: cpu");
  const cudaDeviceProp properties = properties_of(index);
  return why_not_architecture(properties.name, properties.major, properties.minor);
}
}  // namespace kernel::cuda

[[gnu::used]] inline bool CudaDevice::available(std::string* why_not) {
  const std::string why = kernel::cuda::why_not_gpu(0);
  if (why_not && !why.empty()) *why_not = why;
  return why.empty();
}

[[gnu::used]] inline std::unique_ptr<CudaDevice> CudaDevice::open(int local_rank) {
  const int index = kernel::cuda::gpu_of(local_rank);
  if (const std::string why = kernel::cuda::why_not_gpu(index); !why.empty()) fail("device: ", why);
  const cudaDeviceProp properties = kernel::cuda::properties_of(index);
  kernel::cuda::check(cudaSetDevice(index), "cudaSetDevice");
  std::unique_ptr<CudaDevice> device(new CudaDevice);
  device->name_ = properties.name;
  device->multiprocessors_ = properties.multiProcessorCount;
  device->compute_capability_ = 10 * properties.major + properties.minor;
  device->total_bytes_ = properties.totalGlobalMem;
  kernel::cuda::check(cudaStreamCreateWithFlags(&device->handle_, cudaStreamNonBlocking), "cudaStreamCreate");
  return device;
}

[[gnu::used]] inline CudaDevice::~CudaDevice() {
  cudaStreamSynchronize(handle_);  // an error here was reported by wait(), or the process ends
  states_.clear();
  cudaStreamDestroy(handle_);
}

[[gnu::used]] inline std::size_t CudaDevice::free_bytes() {
  std::size_t free = 0, total = 0;
  kernel::cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free;
}

[[gnu::used]] inline void CudaDevice::wait() {
  kernel::cuda::check(cudaStreamSynchronize(handle_), "waiting for the GPU");
}

[[gnu::used]] inline CudaMark::~CudaMark() {
  if (event_) cudaEventDestroy(event_);
}
[[gnu::used]] inline void CudaMark::set(Stream<Cuda> s) {
  if (!event_) kernel::cuda::check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
  cudaStreamCaptureStatus recording = cudaStreamCaptureStatusNone;
  kernel::cuda::check(cudaStreamIsCapturing(s.handle, &recording), "cudaStreamIsCapturing");
  const unsigned how = recording == cudaStreamCaptureStatusActive ? cudaEventRecordExternal : cudaEventRecordDefault;
  kernel::cuda::check(cudaEventRecordWithFlags(event_, s.handle, how), "cudaEventRecord");
}
[[gnu::used]] inline void CudaMark::wait() {
  if (event_) kernel::cuda::check(cudaEventSynchronize(event_), "waiting for the GPU");
}

[[gnu::used]] inline CudaSideStream::~CudaSideStream() {
  if (handle_) cudaStreamDestroy(handle_);
}
[[gnu::used]] inline Stream<Cuda> CudaSideStream::stream() {
  if (!handle_) {
    int least = 0, greatest = 0;
    kernel::cuda::check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    kernel::cuda::check(cudaStreamCreateWithPriority(&handle_, cudaStreamNonBlocking, greatest), "cudaStreamCreate");
  }
  return {handle_};
}
[[gnu::used]] inline void CudaSideStream::wait_for(const CudaMark& mark) {
  kernel::cuda::check(cudaStreamWaitEvent(stream().handle, mark.event_, 0), "cudaStreamWaitEvent");
}
[[gnu::used]] inline void CudaSideStream::join(Stream<Cuda> other) {
  end_.set(stream());
  kernel::cuda::check(cudaStreamWaitEvent(other.handle, end_.event_, 0), "cudaStreamWaitEvent");
}

[[gnu::used]] inline void CudaGraph::begin(CudaDevice& device) {
  reset();
  kernel::cuda::check(cudaStreamBeginCapture(device.stream().handle, cudaStreamCaptureModeThreadLocal),
                      "recording a graph");
}
[[gnu::used]] inline void CudaGraph::end(CudaDevice& device) {
  cudaGraph_t graph = nullptr;
  kernel::cuda::check(cudaStreamEndCapture(device.stream().handle, &graph), "recording a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  cudaGetLastError();
  kernel::cuda::check(status, "instantiating a graph");
  executable_ = reinterpret_cast<decltype(executable_)>(executable);
}
[[gnu::used]] inline void CudaGraph::abandon(CudaDevice& device) {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(device.stream().handle, &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();  // why it was abandoned is reported already
}
[[gnu::used]] inline void CudaGraph::launch(CudaDevice& device) {
  kernel::cuda::check(cudaGraphLaunch(reinterpret_cast<cudaGraphExec_t>(executable_), device.stream().handle),
                      "launching a graph");
}
[[gnu::used]] inline void CudaGraph::reset() {
  if (executable_) cudaGraphExecDestroy(reinterpret_cast<cudaGraphExec_t>(executable_));
  executable_ = nullptr;
}

[[gnu::used]] inline std::byte* Memory<Cuda>::allocate(std::size_t bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is reported here
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    const auto gib = [](std::size_t n) { return cat(static_cast<double>(n >> 20) / 1024, " GiB"); };
    fail("the GPU is out of memory: ", gib(bytes), " were asked for, ", gib(free), " of ", gib(total),
         " are free. Lower per_device_train_batch_size, gradient_accumulation_steps, cutoff_len or image_max_pixels "
         "(training) or max_model_len (generation), or end what else uses this GPU (nvidia-smi lists it)");
  }
  kernel::cuda::check(status, "cudaMalloc");
  return static_cast<std::byte*>(p);
}
[[gnu::used]] inline void Memory<Cuda>::release(std::byte* p) { cudaFree(p); }
[[gnu::used]] inline std::byte* Memory<Cuda>::allocate_staging(std::size_t bytes) {
  void* p = nullptr;
  kernel::cuda::check(cudaHostAlloc(&p, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault),
                      "allocating pinned host memory");
  return static_cast<std::byte*>(p);
}
[[gnu::used]] inline void Memory<Cuda>::release_staging(std::byte* p) { cudaFreeHost(p); }
[[gnu::used]] inline void Memory<Cuda>::upload_later(Stream<Cuda> s, void* to, const void* from, std::size_t bytes) {
  kernel::cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s.handle), "copying to the GPU");
}
[[gnu::used]] inline void Memory<Cuda>::upload(Stream<Cuda> s, void* to, const void* from, std::size_t bytes) {
  kernel::cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s.handle), "copying to the GPU");
  kernel::cuda::check(cudaStreamSynchronize(s.handle), "copying to the GPU");
}
[[gnu::used]] inline void Memory<Cuda>::upload_rows_later(Stream<Cuda> s, void* to, std::size_t to_stride,
                                                          const void* from, std::size_t row_bytes, std::size_t rows) {
  kernel::cuda::check(
      cudaMemcpy2DAsync(to, to_stride, from, row_bytes, row_bytes, rows, cudaMemcpyHostToDevice, s.handle),
      "copying to the GPU");
}
[[gnu::used]] inline void Memory<Cuda>::download(Stream<Cuda> s, void* to, const void* from, std::size_t bytes) {
  kernel::cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, s.handle), "copying from the GPU");
  kernel::cuda::check(cudaStreamSynchronize(s.handle), "copying from the GPU");
}
[[gnu::used]] inline void Memory<Cuda>::download_later(Stream<Cuda> s, void* to, const void* from, std::size_t bytes) {
  kernel::cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, s.handle), "copying from the GPU");
}
[[gnu::used]] inline void Memory<Cuda>::zero(Stream<Cuda> s, void* to, std::size_t bytes) {
  kernel::cuda::check(cudaMemsetAsync(to, 0, bytes, s.handle), "clearing memory of the GPU");
}

}  // namespace lamina
