#pragma once
#include <cstddef>
#include <utility>
#include <vector>

#include <lamina/core/tensor/param.hpp>

namespace lamina {

/// Follows a model's backward: it hears which parameters' gradients are final, and reports each run of parameters once
/// all of its gradients are. Runs are reported in their order, whatever the order of what it hears, so that every
/// process that trains the same model gets the same reports.
class GradientWatch {
 public:
  static constexpr int no_run = -1;

  /// parameters: the model's. run_of: for each of them the number of its run, or no_run.
  GradientWatch(const Parameter* parameters, std::vector<int> run_of)
      : parameters_(parameters), run_of_(std::move(run_of)) {
    for (const int run : run_of_)
      if (run >= static_cast<int>(sizes_.size())) sizes_.resize(static_cast<std::size_t>(run) + 1);
    for (const int run : run_of_)
      if (run != no_run) ++sizes_[static_cast<std::size_t>(run)];
  }

  int runs() const { return static_cast<int>(sizes_.size()); }
  /// A backward begins.
  void begin() {
    final_.assign(run_of_.size(), false);
    missing_ = sizes_;
    next_ = 0;
  }
  /// Nothing is added any more to the gradients of `count` parameters from p on. It may hear of a parameter twice.
  void gradients_final(const Parameter* p, int count) {
    const auto first = static_cast<std::size_t>(p - parameters_);
    for (std::size_t i = first; i < first + static_cast<std::size_t>(count); ++i)
      if (run_of_[i] != no_run && !final_[i]) final_[i] = true, --missing_[static_cast<std::size_t>(run_of_[i])];
    while (next_ < runs() && missing_[static_cast<std::size_t>(next_)] == 0) ready(next_++);
  }
  /// The backward has ended: what it did not mention is final too.
  void end() {
    while (next_ < runs()) ready(next_++);
  }

 protected:
  ~GradientWatch() = default;

 private:
  /// The gradients of a run, and of all runs before it, are final.
  virtual void ready(int run) = 0;

  const Parameter* parameters_;
  std::vector<int> run_of_, sizes_, missing_;  // sizes_, missing_: parameters of each run, those not final
  std::vector<bool> final_;
  int next_ = 0;
};

}  // namespace lamina
