#include <lamina/parallel/launcher.hpp>

#include <map>
#include <string>
#include <tuple>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::parallel;
using lamina::testing::contains, lamina::testing::error_of;

namespace {
Launch launch_with(const std::map<std::string, std::string>& variables) {
  return find_launch([&](const char* name) -> const char* {
    const auto at = variables.find(name);
    return at == variables.end() ? nullptr : at->second.c_str();
  });
}
}  // namespace

TEST_CASE("Launcher: a process by itself, and one of one, is no group") {
  CHECK(launch_with({}).by == Launcher::none);
  CHECK(launch_with({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).by == Launcher::none);
  CHECK(launch_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "7"}}).by == Launcher::none);
}

TEST_CASE("Launcher: torchrun's variables win, and its own store is known") {
  const Launch launch = launch_with({{"RANK", "5"},
                                     {"WORLD_SIZE", "8"},
                                     {"LOCAL_RANK", "1"},
                                     {"LOCAL_WORLD_SIZE", "4"},
                                     {"MASTER_ADDR", "node1"},
                                     {"MASTER_PORT", "29500"},
                                     {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                     {"SLURM_STEP_NUM_TASKS", "2"}});
  CHECK(launch.by == Launcher::torchrun);
  CHECK(launch.place.rank == 5);
  CHECK(launch.place.size == 8);
  CHECK(launch.place.local_rank == 1);
  CHECK(launch.place.local_size == 4);
  CHECK(launch.master_addr == "node1");
  CHECK(launch.master_port == 29500);
  CHECK(launch.agent_store);
}

TEST_CASE("Launcher: Open MPI, MPICH and PMIx under Slurm are MPI") {
  const Launch open_mpi = launch_with({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}});
  CHECK(open_mpi.by == Launcher::mpi);
  CHECK(open_mpi.place.rank == 1);
  CHECK(launch_with({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}).place.rank == 3);
  const Launch slurm = launch_with({{"PMIX_RANK", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", "2"}});
  CHECK(slurm.by == Launcher::mpi);
  CHECK(slurm.place.size == 4);
}

TEST_CASE("Launcher: srun names its first host, and a job's port follows from its number") {
  const auto job = [](const char* hosts) {
    return launch_with({{"SLURM_STEP_NUM_TASKS", "4"},
                        {"SLURM_PROCID", "3"},
                        {"SLURM_LOCALID", "1"},
                        {"SLURM_JOB_ID", "123456"},
                        {"SLURM_STEP_ID", "1"},
                        {"SLURM_STEP_NODELIST", hosts}});
  };
  const Launch launch = job("n[01-04,07],m3");
  CHECK(launch.by == Launcher::slurm);
  CHECK(launch.place.rank == 3);
  CHECK(launch.place.local_rank == 1);
  CHECK(launch.master_addr == "n01");
  CHECK(launch.master_port == 20000 + 123457 % 20000);
  CHECK(job("gpu7").master_addr == "gpu7");
  CHECK(job("gpu7,gpu9").master_addr == "gpu7");
  CHECK(job("n[3,5]-ib").master_addr == "n3-ib");
}

TEST_CASE("Launcher: what cannot be is refused") {
  CHECK(contains(error_of([] {
                   launch_with({{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}});
                 }),
                 "process 2 of 2"));
  CHECK(contains(error_of([] { launch_with({{"RANK", "0"}, {"WORLD_SIZE", "2"}}); }), "MASTER_ADDR"));
  CHECK(contains(error_of([] { launch_with({{"RANK", "x"}, {"WORLD_SIZE", "2"}}); }), "RANK (environment): is x"));
  for (const char* port : {"-5", "65536", "999999"})
    CHECK(contains(error_of([&] {
                     launch_with({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", port}});
                   }),
                   std::string("MASTER_PORT (environment): is ") + port + ", wanted 1 to 65535"));
}

TEST_CASE("Launcher: a variable that cannot be is named, whichever launcher it is of") {
  const std::map<std::string, std::string> torchrun = {{"RANK", "0"},
                                                       {"WORLD_SIZE", "2"},
                                                       {"MASTER_ADDR", "a"},
                                                       {"MASTER_PORT", "1"}},
                                           mpi = {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
                                           slurm = {{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}, none;
  const std::tuple<std::map<std::string, std::string>, const char*, const char*> wrong[] = {
      {torchrun, "WORLD_SIZE", "abc"},
      {torchrun, "WORLD_SIZE", "0"},
      {torchrun, "RANK", "-1"},
      {torchrun, "LOCAL_RANK", "-1"},
      {torchrun, "LOCAL_WORLD_SIZE", "two"},
      {torchrun, "MASTER_PORT", "abc"},
      {torchrun, pass_variable, "x1"},
      {torchrun, pass_variable, "-1"},
      {mpi, "OMPI_COMM_WORLD_SIZE", "abc"},
      {mpi, "OMPI_COMM_WORLD_RANK", "1x"},
      {mpi, "OMPI_COMM_WORLD_LOCAL_RANK", "-1"},
      {mpi, "PMIX_RANK", "?"},
      {slurm, "SLURM_STEP_NUM_TASKS", "abc"},
      {slurm, "SLURM_JOB_ID", "seven"},
      {slurm, "SLURM_NTASKS_PER_NODE", "0"},
      {slurm, "MASTER_PORT", "0"},
      {none, "WORLD_SIZE", "abc"},
      {none, "RANK", "abc"},
      {none, "WORLD_SIZE", "2"},
      {none, "RANK", "1"},
      {none, "LOCAL_RANK", "-1"}};
  for (auto [variables, name, value] : wrong) {
    CAPTURE(name, value);
    variables[name] = value;
    CHECK_THROWS_AS(launch_with(variables), io::UsageError);
    CHECK(error_of([&, &set = variables] {
            launch_with(set);
          }).starts_with(std::string(name) + " (environment): is " + value));
  }
  CHECK(launch_with({{"WORLD_SIZE", "1"}}).by == Launcher::none);
  CHECK(launch_with({{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", "4294967290"}}).by ==
        Launcher::slurm);
}
