#pragma once
#if __has_include(<nccl.h>)
#define LAMINA_HAS_NCCL 1
#include <dlfcn.h>
#include <nccl.h>
#endif
#include <exception>

#include <lamina/core/error.hpp>
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/ranks/peers.cuh>
#include <lamina/parallel/gpu/device_group.hpp>

/// Definitions of what parallel/gpu/device_group.hpp declares. gnu::used: plain C++ calls them, so a translation unit
/// that includes this emits them.
namespace lamina::parallel {

namespace detail {
/// What a group of one gets of a rank's values: the values.
inline void copy_alone(Stream<Cuda> s, std::span<const std::byte> from, std::byte* to) {
  if (from.data() == to || from.empty()) return;
  kernel::cuda::check(cudaMemcpyAsync(to, from.data(), from.size(), cudaMemcpyDeviceToDevice, s.handle), "cudaMemcpy");
}
}  // namespace detail

#if defined(LAMINA_HAS_NCCL)

/// The functions of libnccl.so.2 that are called here. The library is opened when several ranks need it, so that a
/// program that was built with its header also starts if the library is not installed.
#define LAMINA_NCCL_FUNCTIONS(X) \
  X(GetUniqueId)                 \
  X(CommInitRank)                \
  X(AllReduce) X(Reduce) X(AllGather) X(Broadcast) X(CommDestroy) X(CommAbort) X(GetErrorString) X(GetLastError)
struct Nccl {
#define LAMINA_NCCL_MEMBER(name) decltype(&::nccl##name) name = nullptr;
  LAMINA_NCCL_FUNCTIONS(LAMINA_NCCL_MEMBER)
#undef LAMINA_NCCL_MEMBER

  /// The library, or Error that says why it cannot be used. It stays open until the process ends.
  static const Nccl& get() {
    static const Nccl library;
    return library;
  }
  /// Error, in NCCL's own words, if a call failed.
  void check(ncclResult_t status, const char* what) const {
    if (status == ncclSuccess) return;
    fail("NCCL: ", what, ": ", GetErrorString(status), ": ", GetLastError(nullptr),
         ": NCCL_DEBUG=INFO in the environment says more");
  }

 private:
  Nccl() {
    void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library)
      fail("several GPUs need NCCL: ", dlerror(), ": install libnccl2, or name its folder in LD_LIBRARY_PATH");
#define LAMINA_NCCL_FIND(name) find(library, "nccl" #name, name);
    LAMINA_NCCL_FUNCTIONS(LAMINA_NCCL_FIND)
#undef LAMINA_NCCL_FIND
  }
  template <class F>
  static void find(void* library, const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(library, name));
    if (!function) fail("NCCL: libnccl.so.2 has no ", name);
  }
};
#undef LAMINA_NCCL_FUNCTIONS

struct DeviceGroup<Cuda>::Communicator {
  explicit Communicator(Group& group) {
    ncclUniqueId id{};
    if (group.first()) nccl.check(nccl.GetUniqueId(&id), "making an id");
    group.broadcast(std::as_writable_bytes(std::span(&id, 1)));
    nccl.check(nccl.CommInitRank(&handle, group.size(), id, group.rank()), "connecting the GPUs");
  }
  /// After an error the communicator is aborted, since the other ranks may no longer take part.
  ~Communicator() {
    if (std::uncaught_exceptions() > 0)
      nccl.CommAbort(handle);
    else
      nccl.CommDestroy(handle);
  }
  void sum(Stream<Cuda> s, void* values, std::size_t count, ncclDataType_t type) const {
    nccl.check(nccl.AllReduce(values, values, count, type, ncclSum, handle, s.handle), "summing over ranks");
  }
  void sum_on(Stream<Cuda> s, std::span<const float> values, int root, float* sums) const {
    nccl.check(nccl.Reduce(values.data(), sums, values.size(), ncclFloat, ncclSum, root, handle, s.handle),
               "summing over ranks");
  }
  /// `mine` may already be at its place in `all`.
  void gather(Stream<Cuda> s, std::span<const std::byte> mine, std::span<std::byte> all) const {
    nccl.check(nccl.AllGather(mine.data(), all.data(), mine.size(), ncclUint8, handle, s.handle), "exchanging shares");
  }
  void broadcast(Stream<Cuda> s, std::span<std::byte> bytes, int root) const {
    nccl.check(nccl.Broadcast(bytes.data(), bytes.data(), bytes.size(), ncclUint8, root, handle, s.handle),
               "sending values");
  }
  const Nccl& nccl = Nccl::get();
  ncclComm_t handle = nullptr;
};

[[gnu::used]] inline DeviceGroup<Cuda>::DeviceGroup(Group& group, std::size_t peer_bytes, bool connects_alone)
    : group_(group) {
  if (group.size() == 1 && !connects_alone) return;
  communicator_ = std::make_unique<Communicator>(group);
  if (peer_bytes > 0) peers_ = Peers::open(group, peer_bytes);
}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_reduce(Stream<Cuda> s, std::span<float> values) {
  if (communicator_) communicator_->sum(s, values.data(), values.size(), ncclFloat);
}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_reduce(Stream<Cuda> s, std::span<bf16> values) {
  if (communicator_) communicator_->sum(s, values.data(), values.size(), ncclBfloat16);
}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_reduce(Stream<Cuda> s, std::span<f16> values) {
  if (communicator_) communicator_->sum(s, values.data(), values.size(), ncclHalf);
}
[[gnu::used]] inline void DeviceGroup<Cuda>::reduce(Stream<Cuda> s, std::span<float> values, int root, float* sums) {
  if (communicator_) return communicator_->sum_on(s, values, root, sums);
  detail::copy_alone(s, std::as_bytes(values), reinterpret_cast<std::byte*>(sums));
}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_gather(Stream<Cuda> s, std::span<const std::byte> mine,
                                                        std::span<std::byte> all) {
  if (communicator_) return communicator_->gather(s, mine, all);
  detail::copy_alone(s, mine, all.data());
}
[[gnu::used]] inline void DeviceGroup<Cuda>::broadcast(Stream<Cuda> s, std::span<std::byte> bytes, int root) {
  if (communicator_ && !bytes.empty()) communicator_->broadcast(s, bytes, root);
}
/// Gathers the equal parts of the shares, then broadcasts the remainder, which the last rank has.
[[gnu::used]] inline void DeviceGroup<Cuda>::exchange_shares(Stream<Cuda> s, std::span<std::byte> run,
                                                             std::size_t value_bytes) {
  if (!communicator_) return;
  const std::size_t each = share_of(run.size() / value_bytes, 0, size()).count * value_bytes;
  communicator_->gather(s, run.subspan(static_cast<std::size_t>(rank()) * each, each), run);
  broadcast(s, run.subspan(static_cast<std::size_t>(size()) * each), size() - 1);
}

#else

struct DeviceGroup<Cuda>::Communicator {};
[[gnu::used]] inline DeviceGroup<Cuda>::DeviceGroup(Group& group, std::size_t /*peer_bytes*/, bool connects_alone)
    : group_(group) {
  if (group.size() > 1 || connects_alone)
    fail(
        "several GPUs need NCCL, and this program was built without its header: build it where nccl.h is "
        "(libnccl-dev)");
}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_reduce(Stream<Cuda>, std::span<float>) {}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_reduce(Stream<Cuda>, std::span<bf16>) {}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_reduce(Stream<Cuda>, std::span<f16>) {}
[[gnu::used]] inline void DeviceGroup<Cuda>::reduce(Stream<Cuda> s, std::span<float> values, int, float* sums) {
  detail::copy_alone(s, std::as_bytes(values), reinterpret_cast<std::byte*>(sums));
}
[[gnu::used]] inline void DeviceGroup<Cuda>::all_gather(Stream<Cuda> s, std::span<const std::byte> mine,
                                                        std::span<std::byte> all) {
  detail::copy_alone(s, mine, all.data());
}
[[gnu::used]] inline void DeviceGroup<Cuda>::broadcast(Stream<Cuda>, std::span<std::byte>, int) {}
[[gnu::used]] inline void DeviceGroup<Cuda>::exchange_shares(Stream<Cuda>, std::span<std::byte>, std::size_t) {}

#endif

[[gnu::used]] inline DeviceGroup<Cuda>::~DeviceGroup() = default;
[[gnu::used]] inline const PeerMemory* DeviceGroup<Cuda>::peers() const { return peers_ ? &peers_->memory() : nullptr; }

[[gnu::used]] inline int visible_gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace lamina::parallel
