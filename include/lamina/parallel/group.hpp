#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lamina/core/error.hpp>

namespace lamina::parallel {

/// The number of this process among those that were started together.
struct Place {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  ///< among those of its host
};

/// Collective operations of processes that work together, on host memory. All of them call the same members in the same
/// order, each from one thread. This class is the group of one process, whose members do nothing; mpi_group.hpp and
/// tcp_group.hpp have groups of several. Error if another process is silent for longer than the group's timeout.
class Group {
 public:
  Group() = default;
  virtual ~Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  const Place& place() const { return place_; }
  int rank() const { return place_.rank; }
  int size() const { return place_.size; }
  bool first() const { return place_.rank == 0; }
  /// Why this group cannot train without GPUs, and the command that starts one that can; empty if it can.
  virtual std::string needs_gpus() const { return {}; }

  /// Each value becomes its sum over all ranks, with the same bits on every rank.
  void all_reduce(std::span<float> values) {
    if (size() > 1) sum(values);
  }
  void all_reduce(std::span<double> values) {
    if (size() > 1) sum(values);
  }
  void all_reduce(std::span<std::int64_t> values) {
    if (size() > 1) sum(values);
  }
  /// On the root each value becomes its sum over all ranks; elsewhere the values may change.
  void reduce(std::span<float> values, int root) {
    if (size() > 1) sum_on(values, root);
  }
  /// all: each rank's `mine`, in the order of ranks; size() * mine.size() bytes.
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
    if (size() > 1)
      gather(mine, all);
    else
      std::copy(mine.begin(), mine.end(), all.begin());
  }
  /// Copies the root's bytes to every rank.
  void broadcast(std::span<std::byte> bytes, int root = 0) {
    if (size() > 1) send_to_all(bytes, root);
  }
  /// Returns when every rank has called it.
  void barrier() {
    std::int64_t arrived = 1;
    all_reduce(std::span(&arrived, 1));
  }

  /// The smallest of the ranks' values.
  std::int64_t least(std::int64_t mine) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(size()));
    all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
    return *std::min_element(all.begin(), all.end());
  }
  /// Returns the root's text on every rank.
  std::string broadcast(std::string text, int root = 0) {
    auto length = static_cast<std::int64_t>(text.size());
    broadcast(std::as_writable_bytes(std::span(&length, 1)), root);
    constexpr std::int64_t most_bytes = std::int64_t{1} << 30;
    if (length < 0 || length > most_bytes)
      fail("rank ", root, " sends a text of ", length, " bytes: do all processes run the same program?");
    text.resize(static_cast<std::size_t>(length));
    broadcast(std::as_writable_bytes(std::span(text)), root);
    return text;
  }
  /// Returns every rank's text, in the order of ranks.
  std::vector<std::string> all_gather(const std::string& mine) {
    std::vector<std::string> all;
    for (int rank = 0; rank < size(); ++rank) all.push_back(broadcast(rank == this->rank() ? mine : "", rank));
    return all;
  }

 protected:
  explicit Group(const Place& place) : place_(place) {}

 private:
  virtual void sum(std::span<float>) {}
  virtual void sum(std::span<double>) {}
  virtual void sum(std::span<std::int64_t>) {}
  virtual void sum_on(std::span<float> values, int /*root*/) { sum(values); }
  virtual void gather(std::span<const std::byte>, std::span<std::byte>) {}
  virtual void send_to_all(std::span<std::byte>, int /*root*/) {}

  Place place_;
};

/// The group of one.
inline Group& alone() {
  static Group group;
  return group;
}

}  // namespace lamina::parallel
