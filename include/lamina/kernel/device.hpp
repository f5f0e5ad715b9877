#pragma once
#include <memory>

#include <lamina/core/memory.hpp>
#include <lamina/kernel/cuda/device.hpp>

namespace lamina {

/// What runs a backend's kernels: the host's cores, or one GPU.
template <Backend B>
class Device {
 public:
  Stream<B> stream(Arena* = nullptr) { return {}; }
  void wait() {}
};
template <>
class Device<Cuda> {
 public:
  Stream<Cuda> stream(Arena* scratch = nullptr) { return gpu_->stream(scratch); }
  void wait() { gpu_->wait(); }
  CudaDevice& gpu() { return *gpu_; }

 private:
  std::unique_ptr<CudaDevice> gpu_ = CudaDevice::open();
};

}  // namespace lamina
