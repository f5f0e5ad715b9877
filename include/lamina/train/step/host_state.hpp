#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/train/step/optimizer.hpp>

namespace lamina::train {

/// What a checkpoint holds of weights and moments, where the host reads and writes it: the thing itself if the host can
/// reach all of it, else a copy.
template <Backend B>
class HostState {
 public:
  /// As this rank has it: a copy is 0 where other ranks have the values. What gather() has found stays until forget().
  template <class W>
  void read(W& weights, Optimizer<B>& optimizer, Stream<B> stream) {
    if (gathered_) return;
    const auto live = parts_of(weights, optimizer);
    for (std::size_t i = 0; i < live.size(); ++i) {
      spans_[i] = live[i].values;
      if (in_place(live[i], weights)) continue;
      copies_[i].assign(weights.learning_count(), 0.0f);
      spans_[i] = copies_[i];
      Memory<B>::download(stream, copies_[i].data() + live[i].share.first, live[i].values.data(),
                          live[i].values.size_bytes());
    }
  }
  /// Every rank of those that share the optimizer calls it: the first one reads the whole then.
  template <class W>
  void gather(W& weights, Optimizer<B>& optimizer, parallel::DeviceGroup<B>& ranks, Stream<B> stream) {
    const auto live = parts_of(weights, optimizer);
    forget();
    if (ranks.rank() == 0) read(weights, optimizer, stream), gathered_ = true;
    Arena piece(piece_values * sizeof(float), Memory<B>{});
    for (std::size_t i = W::has_copy ? 0 : 1; i < live.size(); ++i)  // without copies every rank has all values
      gather_part(live[i], copies_[i], weights.learning_count(), piece, ranks, stream);
  }
  /// Takes over what was written to the spans since read().
  template <class W>
  void write(W& weights, Optimizer<B>& optimizer, Stream<B> stream) {
    const auto live = parts_of(weights, optimizer);
    if (W::has_copy || !in_place(live[0], weights))
      for (const TensorSlot& slot : weights.slots())
        if (slot.learns)
          weights.fill(
              slot, [&](std::span<std::byte> to) { std::memcpy(to.data(), values().data() + slot.offset, to.size()); });
    for (std::size_t i : {1u, 2u})
      if (!in_place(live[i], weights))
        Memory<B>::upload(stream, live[i].values.data(), copies_[i].data() + live[i].share.first,
                          live[i].values.size_bytes());
  }
  /// The weights change: what was read is old.
  void forget() {
    gathered_ = false;
    copies_ = {};
  }
  std::span<float> values() { return spans_[0]; }
  std::span<float> exp_avg() { return spans_[1]; }
  std::span<float> exp_avg_sq() { return spans_[2]; }

 private:
  static constexpr std::size_t piece_values = std::size_t{4} << 20;

  /// The values of a share, in the backend's memory.
  struct Part {
    std::span<float> values;
    parallel::Share share;
  };
  template <class W>
  static std::array<Part, 3> parts_of(W& weights, Optimizer<B>& optimizer) {
    return {Part{weights.values(), weights.kept()}, Part{optimizer.exp_avg(), optimizer.share()},
            Part{optimizer.exp_avg_sq(), optimizer.share()}};
  }
  template <class W>
  static bool in_place(const Part& part, const W& weights) {
    return !Memory<B>::remote && part.share.count == weights.learning_count();
  }
  /// Each rank's share, piece by piece, into the first one's copy.
  static void gather_part(const Part& mine, std::span<float> all, std::size_t count, Arena& piece,
                          parallel::DeviceGroup<B>& ranks, Stream<B> stream) {
    for (int rank = 0; rank < ranks.size(); ++rank) {
      const parallel::Share share = parallel::share_of(count, rank, ranks.size());
      for (std::size_t at = 0; at < share.count; at += piece_values) {
        const std::size_t length = std::min(piece_values, share.count - at);
        piece.release_to(0);
        float* const values = rank == ranks.rank() ? mine.values.data() + at : piece.template take<float>(length);
        ranks.broadcast(stream, std::as_writable_bytes(std::span(values, length)), rank);
        if (ranks.rank() == 0 && rank != 0)
          Memory<B>::download(stream, all.data() + share.first + at, values, length * sizeof(float));
      }
    }
  }

  std::array<std::span<float>, 3> spans_;
  std::array<std::vector<float>, 3> copies_;
  bool gathered_ = false;
};

}  // namespace lamina::train
