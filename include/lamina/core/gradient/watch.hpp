#pragma once
#include <cstddef>
#include <utility>
#include <vector>

#include <lamina/core/tensor/param.hpp>

namespace lamina {

/// Hears what a model's backward completes.
class GradientListener {
 public:
  /// A backward begins.
  virtual void begin() {}
  /// Nothing is added any more to the gradients of `count` parameters from p on. It may hear of a parameter twice.
  virtual void gradients_final(const Parameter* p, int count) = 0;
  /// The backward has ended: what it did not mention is final too.
  virtual void end() {}

 protected:
  ~GradientListener() = default;
};

/// Reports each run of parameters once all of its gradients are final. Runs are reported in their order, whatever the
/// order of what it hears, so that every process that trains the same model gets the same reports.
class GradientWatch : public GradientListener {
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
  void begin() override {
    final_.assign(run_of_.size(), false);
    missing_ = sizes_;
    next_ = 0;
  }
  void gradients_final(const Parameter* p, int count) override {
    const auto first = static_cast<std::size_t>(p - parameters_);
    for (std::size_t i = first; i < first + static_cast<std::size_t>(count); ++i)
      if (run_of_[i] != no_run && !final_[i]) final_[i] = true, --missing_[static_cast<std::size_t>(run_of_[i])];
    while (next_ < runs() && missing_[static_cast<std::size_t>(next_)] == 0) ready(next_++);
  }
  void end() override {
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
