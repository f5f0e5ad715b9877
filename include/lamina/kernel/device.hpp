#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>

#include <lamina/core/memory.hpp>
#include <lamina/kernel/cuda/device.hpp>

namespace lamina {

/// Bytes of memory that this host has free or can free, 0 where that is not known.
inline std::int64_t host_free_bytes() {
  std::FILE* in = std::fopen("/proc/meminfo", "r");
  if (!in) return 0;
  char line[128];
  long long kib = 0;
  while (std::fgets(line, sizeof line, in) && std::sscanf(line, "MemAvailable: %lld", &kib) != 1) {
  }
  std::fclose(in);
  return static_cast<std::int64_t>(kib) * 1024;
}

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
  std::int64_t free_bytes() const { return host_free_bytes(); }
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
