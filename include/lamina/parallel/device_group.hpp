#pragma once
#include <memory>
#include <span>

#include <lamina/core/backend.hpp>
#include <lamina/parallel/group.hpp>

namespace lamina::parallel {

/// A group's sums where a backend's data is, in the order of its stream. The group outlives it.
template <Backend B>
class DeviceGroup {
 public:
  explicit DeviceGroup(Group& group) : group_(group) {}
  /// Each value becomes its sum over all ranks, with the same bits on every rank.
  void all_reduce(Stream<B>, std::span<float> values) { group_.all_reduce(values); }

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
  /// May return before the work is done.
  void all_reduce(Stream<Cuda>, std::span<float> values);

 private:
  struct Communicator;
  std::unique_ptr<Communicator> communicator_;  ///< null: a group of one
};

/// GPUs that CUDA_VISIBLE_DEVICES leaves to this process.
int visible_gpus();

}  // namespace lamina::parallel
