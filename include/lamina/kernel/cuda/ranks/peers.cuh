#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/parallel/gpu/device_group.hpp>

namespace lamina::kernel::cuda {

/// Nothing is written and no exchange made.
static __global__ void clear_peer_memory(parallel::PeerMemory p, std::byte* own) {
  const auto words = reinterpret_cast<std::uint32_t*>(own);
  const std::size_t slots = p.exchanges_at() / sizeof(std::uint32_t), all = p.bytes() / sizeof(std::uint32_t);
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < all; i += std::size_t{gridDim.x} * blockDim.x)
    words[i] = i < slots ? parallel::PeerMemory::unwritten : 0;
}

}  // namespace lamina::kernel::cuda

namespace lamina::parallel {

/// A GPU's share of PeerMemory, and the way to that of the others of its host (CUDA IPC).
class DeviceGroup<Cuda>::Peers {
 public:
  /// Every rank calls it. Null on every rank, and a line says why, if one of them cannot reach the others.
  static std::unique_ptr<Peers> open(Group& group, std::size_t slot_bytes) {
    auto peers = std::make_unique<Peers>(Key{}, group, slot_bytes);
    if (group.least(peers->why_not_.empty()) == 1) return peers;
    log_info("GPUs exchange everything through NCCL, since they cannot write to each other's memory",
             peers->why_not_.empty() ? "" : ": ", peers->why_not_);
    return nullptr;
  }
  const PeerMemory& memory() const { return memory_; }

 private:
  struct Key {};

 public:
  Peers(Key, Group& group, std::size_t slot_bytes) {
    const auto size = static_cast<std::size_t>(group.size());
    memory_.rank = group.rank(), memory_.ranks = group.size(), memory_.slot_bytes = slot_bytes;
    Shared mine;
    if (size > PeerMemory::most_ranks)
      why_not_ = cat(size, " ranks; at most ", PeerMemory::most_ranks);
    else if (group.place().local_size != group.size())
      why_not_ = "they are of several hosts";
    else
      mine.usable = allocate(mine.handle);
    std::vector<Shared> all(size);
    group.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
    for (std::size_t rank = 0; rank < size && why_not_.empty(); ++rank) reach(rank, all[rank]);
  }
  /// The others have ended their work, or this process ends: their memory goes with them.
  ~Peers() {
    for (std::byte* there : opened_) cudaIpcCloseMemHandle(there);
    cudaFree(own_);
  }
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

 private:
  struct Shared {
    cudaIpcMemHandle_t handle{};
    bool usable = false;
  };
  bool succeeded(cudaError_t status) {
    if (status == cudaSuccess) return true;
    cudaGetLastError();  // it is reported here
    why_not_ = cudaGetErrorString(status);
    return false;
  }
  bool allocate(cudaIpcMemHandle_t& handle) {
    if (!succeeded(cudaMalloc(reinterpret_cast<void**>(&own_), memory_.bytes()))) return false;
    kernel::cuda::clear_peer_memory<<<PeerMemory::blocks, 512>>>(memory_, own_);
    return succeeded(cudaDeviceSynchronize()) && succeeded(cudaIpcGetMemHandle(&handle, own_));
  }
  void reach(std::size_t rank, const Shared& shared) {
    std::byte* there = own_;
    if (!shared.usable) {
      why_not_ = "one of them has none to share";
      return;
    }
    if (static_cast<int>(rank) != memory_.rank) {
      if (!succeeded(
              cudaIpcOpenMemHandle(reinterpret_cast<void**>(&there), shared.handle, cudaIpcMemLazyEnablePeerAccess)))
        return;
      opened_.push_back(there);
    }
    memory_.slots[rank] = there;
    memory_.exchanges = reinterpret_cast<std::uint32_t*>(own_ + memory_.exchanges_at());
  }

  PeerMemory memory_;
  std::byte* own_ = nullptr;
  std::vector<std::byte*> opened_;
  std::string why_not_;
};

}  // namespace lamina::parallel
