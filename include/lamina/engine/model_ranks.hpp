#pragma once
#include <csignal>
#include <memory>
#include <optional>

#include <lamina/engine/open.hpp>
#include <lamina/parallel/open_group.hpp>
#include <lamina/parallel/start_ranks.hpp>

namespace lamina::engine {

/// The processes that share a model: those that torchrun, mpirun or srun started with this one, or else others of this
/// host, which it starts itself with its own command line. One that ends, ends all.
class ModelRanks {
 public:
  /// Joins what a launcher has started; a model that is not shared asks for no launcher.
  /// errors  lamina::Error if that are not so many processes
  explicit ModelRanks(int wanted) : wanted_(wanted) {
    if (wanted == 1) return;
    parallel::end_with_starter();
    const parallel::Launch launch = parallel::find_launch();
    if (launch.by == parallel::Launcher::none) return;
    if (launch.place.size != wanted)
      fail("tensor-parallel-size: is ", wanted, ", and ", launch.place.size,
           " processes were started: start as many, or one, which starts the others");
    join(launch, nullptr);
  }
  parallel::Group& group() const { return *opened_.group; }

  /// Before folders are looked for: the first process of a host fetches what is not there yet; the others wait until it
  /// has called start().
  void await_fetched() {
    if (group().place().local_rank > 0) group().barrier();
  }
  /// Once the model's folder is there: starts the other processes, if no launcher has.
  /// errors  lamina::Error if the model cannot be divided among so many, if the program does not hold the parts, or if
  ///         there are too few GPUs
  void start(const std::filesystem::path& model_dir, const std::string& device) {
    if (wanted_ == 1) return;
    const bool alone = group().size() == 1;
    if (group().first()) expect_ranks(model_dir, wanted_, device, alone ? wanted_ : 1);
    if (alone) {
      started_.emplace(wanted_);
      join(started_->launch(), started_->take_listener());
    }
    if (group().place().local_rank == 0) group().barrier();
  }
  /// What a rank beyond the first does with its session. Signals are for the first, which ends the others.
  static void follow(EngineSession& session) {
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_IGN);
    session.follow();
  }

 private:
  void join(const parallel::Launch& launch, std::unique_ptr<parallel::Listener> listener) {
    opened_ = parallel::open_group(launch, parallel::longest_timeout_s, "", std::move(listener));
  }

  int wanted_;
  std::optional<parallel::StartedRanks> started_;
  parallel::OpenedGroup opened_{std::make_unique<parallel::Group>(), nullptr};
};

}  // namespace lamina::engine
