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
  /// Launches that were recorded once and run again with one call; a host has none.
  struct Recording {
    bool recorded() const { return false; }
    void record(Device&, const auto& /*launches*/) {}
    void launch(Device&) {}
    void reset() {}
  };
  /// Whether work goes on while the host does something else.
  static constexpr bool runs_ahead = false;
  int multiprocessors() const { return 1; }
  Stream<B> stream(Arena* = nullptr) { return {}; }
  void wait() {}
  /// Memory that may still be taken; 0: not known.
  std::int64_t free_bytes() const { return available_memory(); }
  /// All memory that the device has for this process; 0: not known.
  std::int64_t total_bytes() const { return available_memory(); }
};
template <>
class Device<Cuda> {
 public:
  using Mark = CudaMark;
  class Recording {
   public:
    bool recorded() const { return graph_.recorded(); }
    void record(Device& device, const auto& launches) { graph_.record(device.gpu(), launches); }
    void launch(Device& device) { graph_.launch(device.gpu()); }
    void reset() { graph_.reset(); }

   private:
    CudaGraph graph_;
  };
  static constexpr bool runs_ahead = true;
  int multiprocessors() const { return gpu_->multiprocessors(); }
  Stream<Cuda> stream(Arena* scratch = nullptr) { return gpu_->stream(scratch); }
  void wait() { gpu_->wait(); }
  std::int64_t free_bytes() const { return static_cast<std::int64_t>(CudaDevice::free_bytes()); }
  std::int64_t total_bytes() const { return static_cast<std::int64_t>(gpu_->total_bytes()); }
  CudaDevice& gpu() { return *gpu_; }

 private:
  std::unique_ptr<CudaDevice> gpu_ = CudaDevice::open();
};

}  // namespace lamina
