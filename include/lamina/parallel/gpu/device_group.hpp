#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>

#include <lamina/core/backend.hpp>
#include <lamina/core/error.hpp>
#include <lamina/parallel/gpu/peer_memory.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/parallel/share.hpp>

namespace lamina::parallel {

/// Collective operations of a group's ranks on memory of a backend, in the order of its stream. The group outlives it.
template <Backend B>
class DeviceGroup {
 public:
  explicit DeviceGroup(Group& group, std::size_t /*peer_bytes*/ = 0) : group_(group) {}
  Group& group() const { return group_; }
  int rank() const { return group_.rank(); }
  int size() const { return group_.size(); }

  /// Each value becomes its sum over all ranks, with the same bits on every rank.
  void all_reduce(Stream<B>, std::span<float> values) { group_.all_reduce(values); }
  /// The root's `sums` become the sums of each value over all ranks; `values` may change. sums: null elsewhere.
  void reduce(Stream<B>, std::span<float> values, int root, float* sums) {
    group_.reduce(values, root);
    if (rank() == root) std::copy(values.begin(), values.end(), sums);
  }
  /// all: each rank's `mine`, in the order of ranks.
  void all_gather(Stream<B>, std::span<const std::byte> mine, std::span<std::byte> all) {
    group_.all_gather(mine, all);
  }
  /// Copies the root's bytes to every rank.
  void broadcast(Stream<B>, std::span<std::byte> bytes, int root) { group_.broadcast(bytes, root); }
  /// Gathers a run of values of value_bytes each, of which each rank has its share (share_of), on every rank.
  void exchange_shares(Stream<B>, std::span<std::byte> run, std::size_t value_bytes) {
    for (int rank = 0; rank < group_.size() && group_.size() > 1; ++rank) {
      const Share share = share_of(run.size() / value_bytes, rank, group_.size());
      group_.broadcast(run.subspan(share.first * value_bytes, share.count * value_bytes), rank);
    }
  }

 private:
  Group& group_;
};

/// The same between GPUs, by NCCL, which a group of one does not need. It is made on the current GPU. Its calls may
/// return before the work is done. Defined in kernel/cuda/ranks/nccl_group.cuh.
template <>
class DeviceGroup<Cuda> {
 public:
  /// Every rank calls it. peer_bytes: messages of up to so many bytes go through memory that the GPUs of one host write
  /// to directly, if they can reach each other. Error if NCCL is not installed or cannot connect the GPUs.
  /// connects_alone: a group of one uses NCCL too, so that one GPU can test it and measure what it costs.
  explicit DeviceGroup(Group& group, std::size_t peer_bytes = 0, bool connects_alone = false);
  ~DeviceGroup();
  DeviceGroup(const DeviceGroup&) = delete;
  DeviceGroup& operator=(const DeviceGroup&) = delete;
  Group& group() const { return group_; }
  int rank() const { return group_.rank(); }
  int size() const { return group_.size(); }

  void all_reduce(Stream<Cuda>, std::span<float> values);
  void all_reduce(Stream<Cuda>, std::span<bf16> values);
  void all_reduce(Stream<Cuda>, std::span<f16> values);
  void reduce(Stream<Cuda>, std::span<float> values, int root, float* sums);
  void all_gather(Stream<Cuda>, std::span<const std::byte> mine, std::span<std::byte> all);
  void broadcast(Stream<Cuda>, std::span<std::byte> bytes, int root);
  void exchange_shares(Stream<Cuda>, std::span<std::byte> run, std::size_t value_bytes);
  /// That memory, for kernels of kernel/cuda/ranks/across_ranks.cuh; null: there is none.
  const PeerMemory* peers() const;

 private:
  struct Communicator;
  class Peers;
  Group& group_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<Communicator> communicator_;  ///< null: a group of one
};

/// The ranks that share the model whose kernels run on a stream.
template <Backend B>
DeviceGroup<B>& ranks_of(Stream<B> s) {
  if (!s.ranks) fail("a model that is divided among ranks runs without them: give its stream a DeviceGroup");
  return *s.ranks;
}

/// GPUs that CUDA_VISIBLE_DEVICES leaves to this process.
int visible_gpus();

}  // namespace lamina::parallel
