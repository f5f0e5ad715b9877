#pragma once
#include <cstdint>
#include <memory>

#include <lamina/core/error.hpp>
#include <lamina/core/machine/memory.hpp>
#include <lamina/core/machine/resources.hpp>
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
  /// An order of launches next to that of the device, so that both may be at work; the host's have ended already.
  struct SideStream {
    Stream<B> stream() const { return {}; }
    void wait_for(const Mark&) {}
    void join(Stream<B>) {}
  };
  /// Launches that were recorded once and run again with one call; a host has none.
  struct Recording {
    static constexpr bool possible = false;
    bool recorded() const { return false; }
    void record(Device&, const auto& /*launches*/) {}
    void launch(Device&) {}
    void reset() {}
  };
  /// Whether work goes on while the host does something else.
  static constexpr bool runs_ahead = false;
  /// Whether its memory is apart from that of the host and its other programs.
  static constexpr bool has_memory = false;
  /// Whether products read matrices of any element type as fast as those of the activations' own.
  static constexpr bool reads_any_weight = true;
  /// local_rank: of this process among those of its host. They share the host; each has a GPU of its own.
  explicit Device(int /*local_rank*/ = 0) {}
  int multiprocessors() const { return 1; }
  Stream<B> stream(Arena* = nullptr) { return {}; }
  void wait() {}
  /// Whether two runs must agree bit for bit; those of the host always do.
  void set_deterministic(bool) {}
  /// Whether a row of a product must not depend on how many rows are computed with it; the host's never does.
  void set_batch_invariant(bool) {}
  /// Memory that may still be taken; 0: not known.
  std::int64_t free_bytes() const { return available_memory(); }
  /// All memory that the device has for this process; 0: not known.
  std::int64_t total_bytes() const { return available_memory(); }
  /// Memory in use: of the host by this process, of a GPU by all of them; 0: not known.
  std::int64_t used_bytes() const { return resident_memory(); }
};
template <>
class Device<Cuda> {
 public:
  using Mark = CudaMark;
  using SideStream = CudaSideStream;
  class Recording {
   public:
    static constexpr bool possible = true;
    bool recorded() const { return graph_.recorded(); }
    void record(Device& device, const auto& launches) { graph_.record(device.gpu(), launches); }
    void launch(Device& device) { graph_.launch(device.gpu()); }
    void reset() { graph_.reset(); }

   private:
    CudaGraph graph_;
  };
  static constexpr bool runs_ahead = true;
  static constexpr bool has_memory = true;
  static constexpr bool reads_any_weight = false;
  explicit Device(int local_rank = 0) : gpu_(CudaDevice::open(local_rank)) {}
  int multiprocessors() const { return gpu_->multiprocessors(); }
  Stream<Cuda> stream(Arena* scratch = nullptr) { return gpu_->stream(scratch); }
  void wait() { gpu_->wait(); }
  void set_deterministic(bool wanted) { gpu_->deterministic = wanted; }
  void set_batch_invariant(bool wanted) {
    if (wanted && gpu_->compute_capability() != 90)
      fail("batch_invariant: on ", gpu_->name(), " products depend on the number of rows; wanted a GPU of sm_90");
    gpu_->batch_invariant = wanted;
  }
  std::int64_t free_bytes() const { return static_cast<std::int64_t>(CudaDevice::free_bytes()); }
  std::int64_t total_bytes() const { return static_cast<std::int64_t>(gpu_->total_bytes()); }
  std::int64_t used_bytes() const { return total_bytes() - free_bytes(); }
  CudaDevice& gpu() { return *gpu_; }

 private:
  std::unique_ptr<CudaDevice> gpu_;
};

/// Work that runs again and again with the same arguments: what changes from run to run is in the backend's memory. A
/// backend that can record launches then starts them with one call.
template <Backend B>
class Recorder {
 public:
  /// Whether the next run may be recorded first: the work has run once, so that kernels are loaded and plans are made,
  /// which a record may not do.
  bool ready() const { return Recording::possible && ran_ && !recording_.recorded(); }
  bool recorded() const { return recording_.recorded(); }
  /// Records the launches of work(); nothing runs. Error if they cannot be recorded.
  template <class F>
  void record(Device<B>& device, F work) {
    recording_.record(device, work);
  }
  /// Runs work(): its record, if there is one.
  template <class F>
  void run(Device<B>& device, F work) {
    if (recording_.recorded()) return recording_.launch(device);
    work();
    ran_ = true;
  }
  /// The record is void: memory that the work uses has moved.
  void reset() { recording_.reset(); }
  /// The same if it has become other work, which has not run yet.
  void restart() {
    reset();
    ran_ = false;
  }

 private:
  using Recording = typename Device<B>::Recording;
  Recording recording_;
  bool ran_ = false;
};

}  // namespace lamina
