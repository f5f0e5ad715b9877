#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/parallel/group.hpp>
#include <lamina/parallel/tcp/rendezvous.hpp>

namespace lamina::parallel {

/// Ranks that send all messages through rank 0. That is fast enough for ranks with GPUs, since NCCL carries gradients.
class TcpGroup final : public Group {
 public:
  TcpGroup(const Place& place, Star star) : Group(place), star_(std::move(star)) {}
  std::string needs_gpus() const override {
    return cat("no GPU was found, and processes of CPUs are joined by MPI: type mpirun -n ", size(), host_words(),
               " lamina-train FILE.yaml, or srun --mpi=pmix");
  }

 private:
  /// " --host HOST0:2,HOST1:2": the option of mpirun that names the hosts; empty if there is one.
  std::string host_words() const {
    const int each = place().local_size;
    std::string words;
    for (int host = 0; each < size() && host * each < size(); ++host)
      words += cat(host == 0 ? " --host HOST" : ",HOST", host, ":", each);
    return words;
  }
  void sum(std::span<float> values) override { reduce(values); }
  void sum(std::span<double> values) override { reduce(values); }
  void sum(std::span<std::int64_t> values) override { reduce(values); }
  template <class T>
  void reduce(std::span<T> values) {
    if (!first()) {
      star_[0].send(std::as_bytes(values));
      star_[0].receive(std::as_writable_bytes(values));
      return;
    }
    std::vector<T> theirs(values.size());
    for (Connection& peer : star_) {
      peer.receive(std::as_writable_bytes(std::span(theirs)));
      std::transform(values.begin(), values.end(), theirs.begin(), values.begin(), std::plus<T>());
    }
    for (Connection& peer : star_) peer.send(std::as_bytes(values));
  }
  void gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    if (!first()) {
      star_[0].send(mine);
      star_[0].receive(all);
      return;
    }
    std::copy(mine.begin(), mine.end(), all.begin());
    for (std::size_t i = 0; i < star_.size(); ++i) star_[i].receive(all.subspan((i + 1) * mine.size(), mine.size()));
    for (Connection& peer : star_) peer.send(all);
  }
  void send_to_all(std::span<std::byte> bytes, int root) override {
    if (rank() == root && !first()) return star_[0].send(bytes);
    if (!first()) return star_[0].receive(bytes);
    if (root != 0) star_[static_cast<std::size_t>(root - 1)].receive(bytes);
    for (int rank = 1; rank < size(); ++rank)
      if (rank != root) star_[static_cast<std::size_t>(rank - 1)].send(bytes);
  }

  Star star_;
};

}  // namespace lamina::parallel
