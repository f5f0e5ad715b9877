#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <typeindex>

#include <lamina/core/backend.hpp>

struct CUevent_st;  // CUDA's own name for an event
namespace lamina {

/// One GPU as kernels need it: its facts, its stream, and what kernels keep between calls. One thread at a time.
/// Defined in kernel/cuda/device/device.cuh.
class CudaDevice {
 public:
  /// Opens the GPU of a process that is number local_rank on its host: that one of those that CUDA_VISIBLE_DEVICES
  /// leaves, counted from the first again if there are fewer, since a launcher may leave each process its own. Error,
  /// with what was found and what to do, if there is none, it is older than sm_80, or its driver is older than the
  /// toolkit that this program was built with.
  static std::unique_ptr<CudaDevice> open(int local_rank = 0);
  /// Whether open() would succeed; if not, why.
  static bool available(std::string* why_not = nullptr);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  const std::string& name() const { return name_; }
  int multiprocessors() const { return multiprocessors_; }
  int compute_capability() const { return compute_capability_; }  ///< 90: sm_90
  std::size_t total_bytes() const { return total_bytes_; }
  static std::size_t free_bytes();  ///< of the current device

  /// Two runs agree bit for bit: no kernel whose sums are taken in the order in which blocks happen to finish.
  bool deterministic = false;
  /// A row of a product does not depend on how many rows are computed with it: sm_90 alone, and slower for many rows.
  bool batch_invariant = false;

  /// The stream that everything runs on; kernels take their temporary memory from scratch.
  Stream<Cuda> stream(Arena* scratch = nullptr) { return {handle_, this, scratch}; }
  /// Waits until all work is done. Error if some of it failed.
  void wait();

  /// What a family of kernels keeps between calls (a library's handle, plans, algorithms): made at first use as
  /// S(device).
  template <class S>
  S& state() {
    std::shared_ptr<void>& held = states_[typeid(S)];
    if (!held) held = std::make_shared<S>(*this);
    return *static_cast<S*>(held.get());
  }

 private:
  CudaDevice() = default;
  std::string name_;
  int multiprocessors_ = 0, compute_capability_ = 0;
  std::size_t total_bytes_ = 0;
  CUstream_st* handle_ = nullptr;
  std::map<std::type_index, std::shared_ptr<void>> states_;
};

/// A point in a stream that the host or another stream can wait for, though more was launched after it. In launches
/// that are recorded it is a point of each run of the record.
class CudaMark {
 public:
  CudaMark() = default;
  ~CudaMark();
  CudaMark(const CudaMark&) = delete;
  CudaMark& operator=(const CudaMark&) = delete;
  void set(Stream<Cuda>);
  /// Returns when all that was launched before set() is done; at once if it was never set.
  void wait();

 private:
  friend class CudaSideStream;
  CUevent_st* event_ = nullptr;
};

/// A stream of the current device next to a CudaDevice's own. Its kernels get free multiprocessors first, so that they
/// advance while the others keep the device busy. Made at first use.
class CudaSideStream {
 public:
  CudaSideStream() = default;
  ~CudaSideStream();
  CudaSideStream(const CudaSideStream&) = delete;
  CudaSideStream& operator=(const CudaSideStream&) = delete;
  /// Without a CudaDevice's libraries and scratch memory.
  Stream<Cuda> stream();
  /// What is launched here from now on runs after the mark, as it was set last.
  void wait_for(const CudaMark&);
  /// What is launched on the other stream from now on runs after all that was launched here.
  void join(Stream<Cuda> other);

 private:
  CUstream_st* handle_ = nullptr;
  CudaMark end_;
};

/// Launches that were recorded once and run again with one call, with the same arguments: what changes from run to run
/// is in the device's memory.
class CudaGraph {
 public:
  CudaGraph() = default;
  ~CudaGraph() { reset(); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// Records what f() launches on the device's stream; nothing runs. f must have run before, so that nothing is left to
  /// be loaded or allocated. Error if something cannot be recorded.
  template <class F>
  void record(CudaDevice& device, F f) {
    begin(device);
    try {
      f();
    } catch (...) {
      abandon(device);
      throw;
    }
    end(device);
  }
  bool recorded() const { return executable_ != nullptr; }
  void launch(CudaDevice& device);
  void reset();

 private:
  void begin(CudaDevice& device);
  void end(CudaDevice& device);
  static void abandon(CudaDevice& device);
  void* executable_ = nullptr;  ///< a cudaGraphExec_t
};

}  // namespace lamina
