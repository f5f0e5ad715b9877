#pragma once
#include <algorithm>
#include <list>

#include <lamina/kernel/device.hpp>
#include <lamina/train/step/batch.hpp>

namespace lamina::train {

/// What a step takes besides weights.
struct StepBytes {
  std::size_t saved = 0, scratch = 0;
  std::size_t total() const { return saved + scratch; }
};

/// What is known of the shapes that ran last: the memory that they take and, on a GPU, their launches once recorded.
template <Backend B>
class StepShapes {
 public:
  static constexpr std::size_t most = 64;
  /// A recorded step of 2000 launches takes a few MB of the device's memory. Where more shapes than this take turns,
  /// the others are launched one by one; a record goes when its shape is no longer among the `most` that ran last.
  static constexpr int most_recorded = 8;

  struct Known {
    BatchShape shape;
    StepBytes bytes;
    Recorder<B> recorder{};

    Known(const BatchShape& shape, StepBytes bytes) : shape(shape), bytes(bytes) {}
  };

  /// The shape as it is known; plan() finds its bytes if it is not.
  template <class F>
  Known& find(const BatchShape& shape, F plan) {
    const auto at = std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.shape == shape; });
    if (at != known_.end()) {
      known_.splice(known_.begin(), known_, at);
      return known_.front();
    }
    known_.emplace_front(shape, plan());
    if (known_.size() > most) known_.pop_back();
    return known_.front();
  }
  int recorded() const {
    return static_cast<int>(
        std::count_if(known_.begin(), known_.end(), [](const Known& k) { return k.recorder.recorded(); }));
  }
  /// Recorded launches are void once memory has moved.
  void forget_recorded() {
    for (Known& k : known_) k.recorder.reset();
  }

 private:
  std::list<Known> known_;  // the last to run first
};

}  // namespace lamina::train
