#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/parallel/launcher.hpp>
#include <lamina/parallel/mpi_group.hpp>
#include <lamina/parallel/processors.hpp>
#include <lamina/parallel/rank_log.hpp>
#include <lamina/parallel/tcp/torch_store.hpp>
#include <lamina/parallel/watch.hpp>

namespace lamina::parallel {

/// The group of the processes that were started with this one, and the watch that notices when one of them ends.
struct OpenedGroup {
  std::unique_ptr<Group> group;
  std::unique_ptr<Watch> watch;  ///< null: a group of one
};

namespace detail {

/// Whether all processes are on this host.
inline bool on_one_host(const Launch& launch) {
  return launch.place.local_size == launch.place.size || is_loopback(launch.master_addr);
}
inline std::unique_ptr<Listener> listen(const Launch& launch, int port) {
  return std::make_unique<Listener>(port, on_one_host(launch) ? Reach::this_host : Reach::all_hosts);
}
/// The host name or address at which other ranks reach rank 0.
inline std::string address_of_first(const Launch& launch) {
  if (on_one_host(launch)) return "127.0.0.1";
  return launch.master_addr.empty() ? host_name() : launch.master_addr;
}

/// Connects all ranks to rank 0, at a free port of its host. tell(text) is a broadcast: it returns rank 0's text on
/// every rank, which is the address, the port and the pass.
template <class Tell>
Star connect_ranks(const Launch& launch, Seconds timeout, Tell tell) {
  const Place& place = launch.place;
  if (place.rank == 0) {
    const std::unique_ptr<Listener> listener = listen(launch, 0);
    const Pass pass = draw_pass();
    tell(cat(address_of_first(launch), " ", listener->port(), " ", pass));
    return await_ranks(*listener, place.size, pass, timeout);
  }
  std::istringstream where(tell(""));
  std::string host;
  int port = 0;
  Pass pass = 0;
  if (!(where >> host >> port >> pass)) fail("rank 0 does not say where it listens: \"", where.str(), "\"");
  return join_rank_0(host, port, place.rank, place.size, pass, timeout);
}

/// Rank 0's address is passed on through torchrun's own store, since torchrun itself listens on MASTER_PORT.
inline Star connect_by_agent(const Launch& launch, Seconds timeout) {
  const char *run = std::getenv("TORCHELASTIC_RUN_ID"), *restart = std::getenv("TORCHELASTIC_RESTART_COUNT");
  const std::string key = cat("lamina/", run ? run : "", "/", restart ? restart : "");
  TorchStore store(launch.master_addr, launch.master_port, timeout);
  return connect_ranks(launch, timeout, [&](const std::string& text) {
    if (!text.empty()) store.set(key, text);
    return store.get(key);
  });
}

/// Rank 0 listens on MASTER_PORT. listener: rank 0's, if it listens already because it has started the others.
inline Star connect_by_port(const Launch& launch, Seconds timeout, std::unique_ptr<Listener> listener) {
  const Place& place = launch.place;
  if (place.rank > 0)
    return join_rank_0(address_of_first(launch), launch.master_port, place.rank, place.size, launch.pass, timeout);
  if (!listener) listener = listen(launch, launch.master_port);
  return await_ranks(*listener, place.size, launch.pass, timeout);
}

inline std::unique_ptr<Group> open_tcp_group(const Launch& launch, Seconds timeout,
                                             std::unique_ptr<Listener> listener) {
  return std::make_unique<TcpGroup>(launch.place, launch.agent_store
                                                      ? connect_by_agent(launch, timeout)
                                                      : connect_by_port(launch, timeout, std::move(listener)));
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

/// The longest timeout of a group; clocks count nanoseconds in 64 bits.
inline constexpr std::int64_t longest_timeout_s = 10LL * 365 * 86400;

/// Opens the group of the processes of a launch; once in a process. A process may keep the others waiting for timeout_s
/// seconds. If one ends, all others end at once with a message that ends with `advice`. listener: the one on which rank
/// 0 awaits the others, if it listens already.
inline OpenedGroup open_group(Launch launch, std::int64_t timeout_s, const std::string& advice,
                              std::unique_ptr<Listener> listener = {}) {
  if (launch.by == Launcher::none) return {std::make_unique<Group>(), nullptr};
  log_as_rank(launch.place.rank);
  const Seconds timeout(std::min(timeout_s, longest_timeout_s));
  OpenedGroup opened;
  opened.group = launch.by == Launcher::mpi ? detail::open_mpi_group(launch, timeout)
                                            : detail::open_tcp_group(launch, timeout, std::move(listener));
  launch.place = opened.group->place();
  Star star =
      detail::connect_ranks(launch, timeout, [&](const std::string& text) { return opened.group->broadcast(text); });
  opened.watch = std::make_unique<Watch>(std::move(star), launch.place, advice);
  return opened;
}

}  // namespace lamina::parallel
