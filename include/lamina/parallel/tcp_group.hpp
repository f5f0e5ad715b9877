#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/parallel/connection.hpp>
#include <lamina/parallel/group.hpp>

namespace lamina::parallel {

/// The connections between rank 0 and each other rank: in rank 0 those of ranks 1, 2, ..., elsewhere the one to rank 0.
using Star = std::vector<Connection>;

namespace detail {

/// The first words of a rank to rank 0.
struct Hello {
  std::uint32_t magic = 0x4C616D69;
  std::int32_t rank = 0;
};

/// The rank that has connected; nothing if something else has, which closes, says other words or none.
inline std::optional<int> read_hello(Connection& peer, Seconds timeout) {
  constexpr Seconds most(10);
  peer.set_timeout(std::min(most, timeout));
  try {
    const auto hello = peer.receive_value<Hello>();
    peer.set_timeout(timeout);
    return hello.magic == Hello{}.magic ? std::optional<int>(hello.rank) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace detail

/// Rank 0 awaits the others. A port that is open to a network meets strangers too: they are passed over.
inline Star await_ranks(Listener& listener, int size, Seconds timeout) {
  Star star(static_cast<std::size_t>(size - 1));
  for (int arrived = 1; arrived < size;) {
    Connection peer = listener.accept(timeout);
    const std::optional<int> rank = detail::read_hello(peer, timeout);
    if (!rank) continue;
    if (*rank < 1 || *rank >= size) fail("a process connected as rank ", *rank, " of ", size);
    Connection& place = star[static_cast<std::size_t>(*rank - 1)];
    if (place.connected()) fail("two processes are rank ", *rank, " of ", size, ": each needs a number of its own");
    peer.set_name(cat("rank ", *rank));
    place = std::move(peer);
    ++arrived;
  }
  return star;
}
/// The others connect to rank 0.
inline Star join_rank_0(const std::string& host, int port, int rank, Seconds timeout) {
  Star star;
  star.push_back(Connection::to(host, port, timeout));
  star[0].set_name("rank 0");
  star[0].send_value(detail::Hello{.rank = rank});
  return star;
}

/// Ranks that talk through rank 0: enough for what hosts of GPUs tell each other, since NCCL carries the gradients.
class TcpGroup final : public Group {
 public:
  TcpGroup(const Place& place, Star star) : Group(place), star_(std::move(star)) {}
  std::string needs_gpus() const override {
    return cat("no GPU was found, and processes of CPUs are joined by MPI: type mpirun -n ", size(),
               " lamina-train FILE.yaml, or srun --mpi=pmix");
  }

 private:
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
