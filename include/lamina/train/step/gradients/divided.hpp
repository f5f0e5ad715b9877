#pragma once
#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/gradient/order.hpp>
#include <lamina/parallel/share.hpp>

namespace lamina::train {

/// Places of gradients in a block that holds this rank's share of their sums, and otherwise only what backward works
/// on. Matrices that backward completes together are a stage. A stage has its place while backward adds to it and until
/// its values were sent to the ranks that own them; every second stage uses the same place. What backward adds to at
/// several times, a tied embedding above all, and the vectors, stay until its end. All numbers count values.
///
///     [ this rank's share | what stays | even stages ->   <- odd stages ]
///
/// source  Rajbhandari et al. 2020, arXiv:1910.02054: the second stage of ZeRO
struct DividedGradients {
  /// Neighbours among the learning values, and their place in the block.
  struct Piece {
    parallel::Share run;
    std::size_t at = 0;
  };
  struct Stage {
    std::vector<Piece> pieces;
    std::size_t at = 0, count = 0;
  };

  std::vector<Stage> stages;          ///< in backward's order; the last one is what stays
  std::vector<int> stage_of;          ///< of each tensor; GradientWatch::no_run: it does not learn
  std::vector<std::size_t> place_of;  ///< of each tensor
  std::size_t count = 0;              ///< of the block
};

namespace detail {

/// The number of each tensor's stage, in backward's order. A composition completes parts of it before itself: if it
/// then has matrices that no part completed, backward may have added to these all the while, so all of it is one stage.
inline std::vector<int> gradient_stages(std::span<const TensorSlot> slots, const GradientOrder& order) {
  constexpr int stays = std::numeric_limits<int>::max();
  std::vector<int> stage_of(slots.size(), GradientWatch::no_run);
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].learns && slots[i].spec.count() > 0) stage_of[i] = stays;
  int stages = 0;
  for (const GradientOrder::Range& range : order.ranges()) {
    int first = stages;
    std::vector<std::size_t> added;
    for (std::size_t i = range.first; i < range.end(); ++i) {
      if (stage_of[i] == stays && slots[i].spec.rank > 1 && (i != order.head() || stages == 0)) added.push_back(i);
      if (stage_of[i] != GradientWatch::no_run) first = std::min(first, stage_of[i]);
    }
    if (added.empty()) continue;
    for (int& stage : stage_of)
      if (stage != stays) stage = std::min(stage, first);
    for (const std::size_t i : added) stage_of[i] = first;
    stages = first + 1;
  }
  std::replace(stage_of.begin(), stage_of.end(), stays, stages);
  return stage_of;
}

/// Places start at multiples of 256 bytes.
inline std::size_t whole_places(std::size_t values) { return (values + 63) / 64 * 64; }

/// Lays the tensors of a stage one after another, from 0 on.
inline void fill_stages(DividedGradients& divided, std::span<const TensorSlot> slots) {
  std::vector<std::size_t> learning;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (divided.stage_of[i] != GradientWatch::no_run) learning.push_back(i);
  std::sort(learning.begin(), learning.end(), [&](auto a, auto b) { return slots[a].offset < slots[b].offset; });
  divided.place_of.assign(slots.size(), 0);
  for (const std::size_t i : learning) {
    DividedGradients::Stage& stage = divided.stages[static_cast<std::size_t>(divided.stage_of[i])];
    const auto count = static_cast<std::size_t>(slots[i].spec.count());
    if (stage.pieces.empty() || stage.pieces.back().run.end() != slots[i].offset)
      stage.pieces.push_back({{slots[i].offset, 0}, stage.count});
    stage.pieces.back().run.count += count;
    divided.place_of[i] = stage.count;
    stage.count += count;
  }
}

}  // namespace detail

/// The places of a rank that has `own` of the learning values.
inline DividedGradients divide_gradients(std::span<const TensorSlot> slots, const GradientOrder& order,
                                         std::size_t own) {
  DividedGradients divided;
  divided.stage_of = detail::gradient_stages(slots, order);
  divided.stages.resize(static_cast<std::size_t>(*std::max_element(divided.stage_of.begin(), divided.stage_of.end())) +
                        1);
  detail::fill_stages(divided, slots);
  auto& stages = divided.stages;
  const std::size_t moving = stages.size() - 1;
  stages.back().at = detail::whole_places(own);
  const std::size_t room_at = stages.back().at + detail::whole_places(stages.back().count);
  std::size_t room = 0;
  for (std::size_t s = 0; s < moving; ++s)
    room = std::max(
        room, detail::whole_places(stages[s].count) + (s + 1 < moving ? detail::whole_places(stages[s + 1].count) : 0));
  divided.count = room_at + room;
  for (std::size_t s = 0; s < moving; ++s)
    stages[s].at = room_at + (s % 2 == 0 ? 0 : room - detail::whole_places(stages[s].count));
  for (auto& stage : stages)
    for (auto& piece : stage.pieces) piece.at += stage.at;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (divided.stage_of[i] != GradientWatch::no_run)
      divided.place_of[i] += stages[static_cast<std::size_t>(divided.stage_of[i])].at;
  return divided;
}

/// Lays the gradients of weights without memory out so that a rank keeps those of `own` values. Nothing, and they stay
/// whole, if that would take no less. order: Step::gradient_order.
template <class W>
std::optional<DividedGradients> divide_gradients_of(W& weights, std::size_t own,
                                                    GradientOrder (*order)(const Parameter*)) {
  Arena counting;  // nobody reads at its addresses
  const std::size_t learning = weights.learning_count();
  const std::vector<Parameter> parameters = weights.parameters_at(
      counting.take<std::byte>(weights.frozen_bytes()), counting.take<float>(learning), counting.take<float>(learning),
      W::has_copy ? counting.take<typename W::Copy>(learning) : nullptr);
  DividedGradients divided = divide_gradients(weights.slots(), order(parameters.data()), own);
  if (divided.count >= learning) return std::nullopt;
  weights.place_gradients(divided.place_of, divided.count);
  return divided;
}

}  // namespace lamina::train
