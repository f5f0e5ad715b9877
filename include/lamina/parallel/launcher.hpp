#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/core/machine/environment.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/parallel/group.hpp>

/// The launcher that started this process and the process's rank, from the environment variables that launchers set.
namespace lamina::parallel {

enum class Launcher {
  none,      ///< this process alone
  mpi,       ///< mpirun, or srun with an MPI plugin
  torchrun,  ///< torchrun --no-python, or whatever else sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
  slurm,     ///< srun without MPI
};

struct Launch {
  Launcher by = Launcher::none;
  Place place;
  std::string master_addr;   ///< host of rank 0; empty: rank 0 passes on its host name
  int master_port = 0;       ///< 0: not known
  bool agent_store = false;  ///< torchrun itself listens there, with its TCPStore
  std::uint64_t pass = 0;    ///< number that rank 0 gave to the ranks that it started (Pass); 0: none
};

/// The value of a variable, nullptr if it is not set.
using Environment = std::function<const char*(const char*)>;

/// The environment variable in which StartedRanks (parallel/start_ranks.hpp) passes Launch::pass to its ranks.
inline constexpr const char* pass_variable = "LAMINA_RANK_PASS";

namespace detail {

/// Numbers that a variable may be.
struct VariableRange {
  std::int64_t least = 0, most = std::numeric_limits<std::int64_t>::max();
  std::string text() const {
    return most == std::numeric_limits<std::int64_t>::max() ? cat("a whole number from ", least, " on")
                                                            : cat(least, " to ", most);
  }
};
constexpr VariableRange rank_range{0, 9'999'999}, size_range{1, 10'000'000}, port_range{1, 65535};

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}
  bool has(const char* name) const { return !text(name).empty(); }
  std::string text(const char* name) const {
    const char* value = environment_(name);
    return value ? value : "";
  }
  /// UsageError if it is set to something else than a whole number of that range.
  std::optional<std::int64_t> number(const char* name, const VariableRange& range) const {
    const std::string value = text(name);
    if (value.empty()) return std::nullopt;
    const auto number = whole_number(value);
    if (!number || *number < range.least || *number > range.most)
      io::usage(name, " (environment): is ", value, ", wanted ", range.text());
    return number;
  }
  /// pass_variable's; 0: not set.
  std::uint64_t pass() const {
    const std::string value = text(pass_variable);
    std::uint64_t out = 0;
    if (value.empty()) return out;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    if (error != std::errc() || end != value.data() + value.size())
      io::usage(pass_variable, " (environment): is ", value, ", wanted the number that rank 0 gives its ranks");
    return out;
  }
  /// The first of the names that is set. All of them are read.
  int first_number(std::initializer_list<const char*> names, const VariableRange& range, int otherwise) const {
    std::optional<std::int64_t> first;
    for (const char* name : names)
      if (const auto value = number(name, range); value && !first) first = value;
    return static_cast<int>(first.value_or(otherwise));
  }

 private:
  const Environment& environment_;
};

/// Whether an address is one of this host that no other host can reach.
inline bool is_loopback(std::string_view address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}

/// "n01" of "n[01-04,07],m3".
inline std::string first_host(std::string_view hosts) {
  const std::size_t open = hosts.find_first_of("[,");
  if (open == std::string_view::npos || hosts[open] == ',') return std::string(hosts.substr(0, open));
  const std::size_t end = hosts.find_first_of("-,]", open);
  const std::size_t close = hosts.find(']', open);
  std::string host(hosts.substr(0, open));
  host += hosts.substr(open + 1, end - open - 1);
  if (close != std::string_view::npos) host += hosts.substr(close + 1, hosts.find(',', close) - close - 1);
  return host;
}

/// If LOCAL_WORLD_SIZE is not set, all processes are on this host if MASTER_ADDR is a loopback address, else one is.
inline Launch torch_launch(const Variables& v) {
  const int size = v.first_number({"WORLD_SIZE"}, size_range, 1);
  const int of_host = is_loopback(v.text("MASTER_ADDR")) ? size : 1;
  Launch launch{.by = Launcher::torchrun,
                .place = {.rank = v.first_number({"RANK"}, rank_range, 0),
                          .size = size,
                          .local_rank = v.first_number({"LOCAL_RANK", "RANK"}, rank_range, 0),
                          .local_size = v.first_number({"LOCAL_WORLD_SIZE"}, size_range, of_host)},
                .master_addr = v.text("MASTER_ADDR"),
                .master_port = v.first_number({"MASTER_PORT"}, port_range, 0),
                .agent_store = v.text("TORCHELASTIC_USE_AGENT_STORE") == "True",
                .pass = v.pass()};
  if (launch.place.size > 1 && (launch.master_addr.empty() || launch.master_port == 0))
    io::usage(
        "RANK and WORLD_SIZE (environment) are set, MASTER_ADDR and MASTER_PORT are not: start with torchrun "
        "--no-python, or set all four");
  return launch;
}
/// One of RANK and WORLD_SIZE without the other says nothing of a group, unless it speaks of more than one process.
inline void expect_no_half_launch(const Variables& v) {
  const int rank = v.first_number({"RANK"}, rank_range, 0), size = v.first_number({"WORLD_SIZE"}, size_range, 1);
  if (rank > 0 && size == 1) io::usage("RANK (environment): is ", rank, ", and WORLD_SIZE is not set");
  v.first_number({"LOCAL_RANK"}, rank_range, 0);
  if (size > 1) io::usage("WORLD_SIZE (environment): is ", size, ", and RANK is not set");
}

inline Launch mpi_launch(const Variables& v) {
  const auto rank = [&](std::initializer_list<const char*> names) { return v.first_number(names, rank_range, 0); };
  const auto size = [&](std::initializer_list<const char*> names) { return v.first_number(names, size_range, 1); };
  return {.by = Launcher::mpi,
          .place = {.rank = rank({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}),
                    .size = size({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}),
                    .local_rank = rank({"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}),
                    .local_size = size({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"})},
          .master_addr = v.text("MASTER_ADDR"),
          .master_port = 0,
          .agent_store = false};
}

/// The port is derived from the job's number, so that all hosts know it and jobs of one host seldom share one.
inline Launch slurm_launch(const Variables& v) {
  constexpr std::int64_t first_port = 20000, ports = 20000;
  const std::int64_t job = v.number("SLURM_JOB_ID", {}).value_or(0), step = v.number("SLURM_STEP_ID", {}).value_or(0);
  const std::string own = v.text("MASTER_ADDR");
  return {.by = Launcher::slurm,
          .place = {.rank = v.first_number({"SLURM_PROCID"}, rank_range, 0),
                    .size = v.first_number({"SLURM_STEP_NUM_TASKS"}, size_range, 1),
                    .local_rank = v.first_number({"SLURM_LOCALID"}, rank_range, 0),
                    .local_size = v.first_number({"SLURM_NTASKS_PER_NODE"}, size_range, 1)},
          .master_addr = own.empty() ? first_host(v.text("SLURM_STEP_NODELIST")) : own,
          .master_port = v.first_number({"MASTER_PORT"}, port_range,
                                        static_cast<int>(first_port + (job % ports + step % ports) % ports)),
          .agent_store = false};
}

}  // namespace detail

/// Reads the environment. A batch script of Slurm also has SLURM_PROCID, but only srun sets SLURM_STEP_NUM_TASKS.
/// errors  io::UsageError that names a variable whose value cannot be
/// source  PyTorch, torch/distributed/run.py; Open MPI 4 and 5, mpirun(1); Slurm, srun(1)
inline Launch find_launch(const Environment& environment = [](const char* name) { return std::getenv(name); }) {
  const detail::Variables v(environment);
  Launch launch;
  if (v.has("RANK") && v.has("WORLD_SIZE"))
    launch = detail::torch_launch(v);
  else if (v.has("OMPI_COMM_WORLD_SIZE") || v.has("PMI_SIZE") || v.has("PMIX_RANK"))
    launch = detail::mpi_launch(v);
  else if (v.has("SLURM_STEP_NUM_TASKS"))
    launch = detail::slurm_launch(v);
  else
    detail::expect_no_half_launch(v);
  const Place& p = launch.place;
  if (p.rank >= p.size)
    io::usage("the environment says that this is process ", p.rank, " of ", p.size, ", counted from 0");
  if (p.size == 1) launch = {};
  return launch;
}

}  // namespace lamina::parallel
