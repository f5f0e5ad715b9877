#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/parallel/launcher.hpp>
#include <lamina/parallel/mpi_group.hpp>
#include <lamina/parallel/processors.hpp>
#include <lamina/parallel/rank_log.hpp>
#include <lamina/parallel/torch_store.hpp>
#include <lamina/parallel/watch.hpp>

namespace lamina::parallel {

/// The processes that were started with this one, and who watches that they live.
struct OpenedGroup {
  std::unique_ptr<Group> group;
  std::unique_ptr<Watch> watch;  ///< null: a group of one
};

namespace detail {

/// The host that other ranks reach rank 0 at.
inline std::string own_address(const Launch& launch) {
  if (launch.place.local_size == launch.place.size) return "127.0.0.1";
  return launch.master_addr.empty() ? host_name() : launch.master_addr;
}

/// Connections to or from rank 0. tell(text) returns on every rank what rank 0 said: where it listens.
template <class Tell>
Star connect_ranks(const Launch& launch, Listener* listener, Seconds timeout, Tell tell) {
  const std::string where = tell(listener ? cat(own_address(launch), " ", listener->port()) : "");
  if (listener) return await_ranks(*listener, launch.place.size, timeout);
  const std::size_t space = where.find(' ');
  return join_rank_0(where.substr(0, space), std::atoi(where.c_str() + space), launch.place.rank, timeout);
}

/// What rank 0 says goes through torchrun's own store, since torchrun listens on MASTER_PORT itself.
inline Star connect_by_agent(const Launch& launch, Listener* listener, Seconds timeout) {
  const char *run = std::getenv("TORCHELASTIC_RUN_ID"), *restart = std::getenv("TORCHELASTIC_RESTART_COUNT");
  const std::string key = cat("lamina/", run ? run : "", "/", restart ? restart : "");
  TorchStore store(launch.master_addr, launch.master_port, timeout);
  return connect_ranks(launch, listener, timeout, [&](const std::string& text) {
    if (listener) store.set(key, text);
    return store.get(key);
  });
}

inline std::unique_ptr<Group> open_tcp_group(const Launch& launch, Seconds timeout) {
  const bool first = launch.place.rank == 0;
  std::unique_ptr<Listener> listener;
  if (first) listener = std::make_unique<Listener>(launch.agent_store ? 0 : launch.master_port);
  Star star = launch.agent_store ? connect_by_agent(launch, listener.get(), timeout)
              : first            ? await_ranks(*listener, launch.place.size, timeout)
                                 : join_rank_0(launch.master_addr, launch.master_port, launch.place.rank, timeout);
  return std::make_unique<TcpGroup>(launch.place, std::move(star));
}

inline std::unique_ptr<Group> open_mpi_group(const Launch& launch, [[maybe_unused]] Seconds timeout) {
#if defined(LAMINA_HAS_MPI)
  return std::make_unique<MpiGroup>(launch.place, timeout);
#else
  fail("MPI started ", launch.place.size, " processes, but this program was built without it: build it where ",
       "libopenmpi-dev is installed, or start it with torchrun --no-python");
#endif
}

}  // namespace detail

/// The group of the processes that were started with this one; once in a process. Each process of it may keep the
/// others waiting for timeout_s seconds; one that ends is noticed at once.
inline OpenedGroup open_group(std::int64_t timeout_s) {
  constexpr std::int64_t most_s = 10LL * 365 * 86400;  // clocks count in nanoseconds
  Launch launch = find_launch();
  if (launch.by == Launcher::none) return {std::make_unique<Group>(), nullptr};
  log_as_rank(launch.place.rank);
  const Seconds timeout(std::min(timeout_s, most_s));
  OpenedGroup opened;
  opened.group =
      launch.by == Launcher::mpi ? detail::open_mpi_group(launch, timeout) : detail::open_tcp_group(launch, timeout);
  launch.place = opened.group->place();
  std::unique_ptr<Listener> listener;
  if (opened.group->first()) listener = std::make_unique<Listener>(0);
  Star star = detail::connect_ranks(launch, listener.get(), timeout,
                                    [&](const std::string& text) { return opened.group->broadcast(text); });
  opened.watch = std::make_unique<Watch>(std::move(star), launch.place);
  return opened;
}

}  // namespace lamina::parallel
