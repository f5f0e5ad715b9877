#pragma once
#include <cstddef>
#include <memory>
#include <span>

#include <lamina/core/backend.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/parallel/share.hpp>

namespace lamina::parallel {

/// What a group's ranks tell each other where a backend's data is, in the order of its stream. The group outlives it.
template <Backend B>
class DeviceGroup {
 public:
  explicit DeviceGroup(Group& group) : group_(group) {}
  /// Each value becomes its sum over all ranks, with the same bits on every rank.
  void all_reduce(Stream<B>, std::span<float> values) { group_.all_reduce(values); }
  /// Every rank has the root's bytes then.
  void broadcast(Stream<B>, std::span<std::byte> bytes, int root) { group_.broadcast(bytes, root); }
  /// Each rank has its share (share_of) of a run of values of value_bytes each; then every rank has all.
  void exchange_shares(Stream<B>, std::span<std::byte> run, std::size_t value_bytes) {
    for (int rank = 0; rank < group_.size() && group_.size() > 1; ++rank) {
      const Share share = share_of(run.size() / value_bytes, rank, group_.size());
      group_.broadcast(run.subspan(share.first * value_bytes, share.count * value_bytes), rank);
    }
  }
  int rank() const { return group_.rank(); }
  int size() const { return group_.size(); }

 private:
  Group& group_;
};

/// NCCL between GPUs, made on the current one; a group of one does not ask for it. Defined in
/// parallel/nccl_group.cuh.
template <>
class DeviceGroup<Cuda> {
 public:
  /// Every rank calls it. Error if NCCL is not installed or finds no way between the GPUs.
  explicit DeviceGroup(Group& group);
  ~DeviceGroup();
  DeviceGroup(const DeviceGroup&) = delete;
  DeviceGroup& operator=(const DeviceGroup&) = delete;
  /// All may return before the work is done.
  void all_reduce(Stream<Cuda>, std::span<float> values);
  void broadcast(Stream<Cuda>, std::span<std::byte> bytes, int root);
  void exchange_shares(Stream<Cuda>, std::span<std::byte> run, std::size_t value_bytes);
  int rank() const { return place_.rank; }
  int size() const { return place_.size; }

 private:
  struct Communicator;
  Place place_;
  std::unique_ptr<Communicator> communicator_;  ///< null: a group of one
};

/// GPUs that CUDA_VISIBLE_DEVICES leaves to this process.
int visible_gpus();

}  // namespace lamina::parallel
