#pragma once
#include <cstdint>
#include <memory>

#include <lamina/core/memory.hpp>
#include <lamina/core/resources.hpp>
#include <lamina/kernel/cuda/device/device.hpp>

namespace lamina {

/// What runs a backend's kernels: the host's cores, or one GPU.
template <Backend B>
class Device {
 public:
  /// A point in the order of launches that the host can wait for.
  struct Mark {
    void set(Stream<B>) {}
    void wait() {}
  };
  Stream<B> stream(Arena* = nullptr) { return {}; }
  void wait() {}
  /// Memory that may still be taken; 0: not known.
  std::int64_t free_bytes() const { return available_memory(); }
};
template <>
class Device<Cuda> {
 public:
  using Mark = CudaMark;
  Stream<Cuda> stream(Arena* scratch = nullptr) { return gpu_->stream(scratch); }
  void wait() { gpu_->wait(); }
  std::int64_t free_bytes() const { return static_cast<std::int64_t>(CudaDevice::free_bytes()); }
  CudaDevice& gpu() { return *gpu_; }

 private:
  std::unique_ptr<CudaDevice> gpu_ = CudaDevice::open();
};

}  // namespace lamina
