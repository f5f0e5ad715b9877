#pragma once
#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
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
    resize(live.size());
    for (std::size_t i = 0; i < live.size(); ++i) {
      const StatePart& part = live[i];
      const std::size_t each = size_bytes(part.dtype);
      spans_[i] = {part.data, part.count * each};
      if (in_place(part)) continue;
      copies_[i].assign(part.total * each, std::byte{0});
      spans_[i] = copies_[i];
      if (part.count > 0)
        Memory<B>::download(stream, copies_[i].data() + part.first * each, part.data, part.count * each);
    }
    if (weights.is_kept_as_copy()) read_copy(weights, stream);
  }
  /// Every rank of those that share the optimizer calls it: the first one reads the whole then.
  template <class W>
  void gather(W& weights, Optimizer<B>& optimizer, parallel::DeviceGroup<B>& ranks, Stream<B> stream) {
    const auto live = parts_of(weights, optimizer);
    forget();
    resize(live.size());
    if (ranks.rank() == 0) read(weights, optimizer, stream), gathered_ = true;
    Arena piece(piece_values * sizeof(float), Memory<B>{});
    for (std::size_t i = W::has_copy ? 0 : 1; i < live.size(); ++i)  // without copies every rank has all values
      gather_part(live[i], copies_[i], piece, ranks, stream);
  }
  /// Takes over what was written to the spans since read().
  template <class W>
  void write(W& weights, Optimizer<B>& optimizer, Stream<B> stream) {
    const auto live = parts_of(weights, optimizer);
    if (W::has_copy || !in_place(live[0]))
      for (const TensorSlot& slot : weights.slots())
        if (slot.learns)
          weights.fill(
              slot, [&](std::span<std::byte> to) { std::memcpy(to.data(), values().data() + slot.offset, to.size()); });
    for (std::size_t i = 1; i < live.size(); ++i) {
      const std::size_t each = size_bytes(live[i].dtype);
      if (!in_place(live[i]))
        Memory<B>::upload(stream, live[i].data, copies_[i].data() + live[i].first * each, live[i].count * each);
    }
  }
  /// The weights change: what was read is old.
  void forget() {
    gathered_ = false;
    copies_.clear();
  }
  std::span<float> values() { return {reinterpret_cast<float*>(spans_[0].data()), spans_[0].size() / sizeof(float)}; }
  /// Of the optimizer's part of this index.
  std::span<std::byte> state(std::size_t part) { return spans_[part + 1]; }

 private:
  /// The values of weights that have no fp32 ones.
  template <class W>
  void read_copy(W& weights, Stream<B> stream) {
    std::vector<typename W::Copy> narrow(weights.learning_count());
    Memory<B>::download(stream, narrow.data(), weights.copy().data(), narrow.size() * sizeof narrow[0]);
    for (std::size_t i = 0; i < narrow.size(); ++i) values()[i] = to_f32(narrow[i]);
  }

  void resize(std::size_t parts) {
    spans_.resize(parts);
    copies_.resize(parts);
  }
  /// The values, then what the optimizer has.
  template <class W>
  static std::vector<StatePart> parts_of(W& weights, Optimizer<B>& optimizer) {
    const parallel::Share& kept = weights.kept();
    std::vector<StatePart> parts = {{"value",
                                     DType::F32,
                                     kept.first,
                                     kept.count,
                                     weights.learning_count(),
                                     reinterpret_cast<std::byte*>(weights.values().data()),
                                     {}}};
    parts.insert(parts.end(), optimizer.parts().begin(), optimizer.parts().end());
    return parts;
  }
  static bool in_place(const StatePart& part) { return !Memory<B>::remote && part.count == part.total; }

  static constexpr std::size_t piece_values = std::size_t{4} << 20;

  /// Each rank's share, piece by piece, into the first one's copy.
  static void gather_part(const StatePart& mine, std::span<std::byte> all, Arena& piece,
                          parallel::DeviceGroup<B>& ranks, Stream<B> stream) {
    for (int rank = 0; rank < ranks.size(); ++rank) {
      const parallel::Share share = parallel::share_of(mine.total, rank, ranks.size());
      for (std::size_t at = 0; at < share.count; at += piece_values) {
        const std::size_t length = std::min(piece_values, share.count - at);
        piece.release_to(0);
        float* const values = rank == ranks.rank() ? mine.at<float>(at) : piece.template take<float>(length);
        ranks.broadcast(stream, std::as_writable_bytes(std::span(values, length)), rank);
        if (ranks.rank() == 0 && rank != 0)
          Memory<B>::download(stream, all.data() + (share.first + at) * sizeof(float), values, length * sizeof(float));
      }
    }
  }

  std::vector<std::span<std::byte>> spans_;
  std::vector<std::vector<std::byte>> copies_;
  bool gathered_ = false;
};

}  // namespace lamina::train
