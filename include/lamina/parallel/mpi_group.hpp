#pragma once
#if defined(LAMINA_HAS_MPI)
#include <mpi.h>

#include <chrono>
#include <exception>
#include <thread>

#include <lamina/core/error.hpp>
#include <lamina/parallel/group.hpp>

namespace lamina::parallel {

/// The processes that mpirun or srun started. The group initialises MPI and finalises it, so a process can make one
/// group in its life. One thread at a time may use it. source  MPI: A Message-Passing Interface Standard 3.1, chapters
/// 5 and 8
class MpiGroup final : public Group {
 public:
  /// Error if MPI sees another number of processes than the launcher said.
  MpiGroup(const Place& launched, std::chrono::seconds timeout) : Group(start(launched)), timeout_(timeout) {}
  /// After an error MPI is not finalised, since the other ranks may wait in another call: this process ends, and mpirun
  /// then ends the others.
  ~MpiGroup() override {
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
  }

 private:
  static Place start(Place place) {
    int provided = 0, rank = 0, size = 1;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size != place.size)
      fail("MPI: ", size, " processes, but ", place.size, " were started: is mpirun of the MPI that this program was ",
           "built with? With Slurm: srun --mpi=pmix");
    MPI_Comm host = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &place.local_rank);
    MPI_Comm_size(host, &place.local_size);
    MPI_Comm_free(&host);
    place.rank = rank;
    return place;
  }

  void sum(std::span<float> values) override { reduce(values, MPI_FLOAT); }
  void sum(std::span<double> values) override { reduce(values, MPI_DOUBLE); }
  void sum(std::span<std::int64_t> values) override { reduce(values, MPI_INT64_T); }
  void sum_on(std::span<float> values, int root) override {
    for_parts(values, [&](std::span<float> part, MPI_Request& request) {
      const bool here = rank() == root;
      MPI_Ireduce(here ? MPI_IN_PLACE : part.data(), here ? part.data() : nullptr, static_cast<int>(part.size()),
                  MPI_FLOAT, MPI_SUM, root, MPI_COMM_WORLD, &request);
    });
  }
  void gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    MPI_Request request;
    const int count = static_cast<int>(mine.size());
    MPI_Iallgather(mine.data(), count, MPI_BYTE, all.data(), count, MPI_BYTE, MPI_COMM_WORLD, &request);
    wait(request);
  }
  void send_to_all(std::span<std::byte> bytes, int root) override {
    for_parts(bytes, [&](std::span<std::byte> part, MPI_Request& request) {
      MPI_Ibcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, MPI_COMM_WORLD, &request);
    });
  }
  template <class T>
  void reduce(std::span<T> values, MPI_Datatype type) {
    for_parts(values, [&](std::span<T> part, MPI_Request& request) {
      MPI_Iallreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()), type, MPI_SUM, MPI_COMM_WORLD, &request);
    });
  }
  /// MPI counts in int.
  template <class T, class F>
  void for_parts(std::span<T> all, F begin) {
    constexpr std::size_t most = std::size_t{1} << 30;
    for (std::size_t at = 0; at < all.size(); at += most) {
      MPI_Request request;
      begin(all.subspan(at, std::min(most, all.size() - at)), request);
      wait(request);
    }
  }
  /// MPI's own wait keeps a core busy, which another rank may need: this one sleeps between polls.
  void wait(MPI_Request& request) {
    constexpr int eager_turns = 200;
    const auto start = std::chrono::steady_clock::now();
    for (int turn = 0, done = 0;; ++turn) {
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done) return;
      if (turn < eager_turns)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      if (std::chrono::steady_clock::now() - start > timeout_)
        fail("MPI: another process has been silent for ", timeout_.count(),
             " s (ddp_timeout): does it still run, and does it have as much to do?");
    }
  }

  std::chrono::seconds timeout_;
};

}  // namespace lamina::parallel
#endif
