#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/optimizer.hpp>
#include <lamina/kernel/optimizer/dynamic_map.hpp>
#include <lamina/parallel/share.hpp>

namespace lamina::train {

/// What an optimizer remembers of all tensors under one name, in the backend's memory. Ranks that share the work have
/// `count` elements each, of `total`, from `first` on.
struct StatePart {
  /// Of one tensor.
  struct Place {
    std::size_t slot = 0, first = 0;  ///< among the slots of the weights; of its elements
    std::vector<std::int64_t> shape;
    std::size_t count() const {
      std::size_t n = 1;
      for (const std::int64_t e : shape) n *= static_cast<std::size_t>(e);
      return n;
    }
  };
  std::string_view name;
  DType dtype = DType::F32;
  std::size_t first = 0, count = 0, total = 0;
  std::byte* data = nullptr;
  std::vector<Place> places;
  template <class E>
  E* at(std::size_t element = 0) const {
    return reinterpret_cast<E*>(data) + element;
  }
};

inline std::vector<std::int64_t> shape_of(const TensorSpec& spec) {
  return {spec.extents.begin(), spec.extents.begin() + spec.rank};
}

/// The indices of tensors that learn, in the order of their values.
inline std::vector<std::size_t> learning_slots(std::span<const TensorSlot> slots) {
  std::vector<std::size_t> learning;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].learns && slots[i].spec.count() > 0) learning.push_back(i);
  std::sort(learning.begin(), learning.end(), [&](auto a, auto b) { return slots[a].offset < slots[b].offset; });
  return learning;
}

inline bool has_8bit_moments(OptimizerKind kind) {
  return kind == OptimizerKind::adamw_8bit || kind == OptimizerKind::lion_8bit;
}
/// Whether this tensor's moments are in 8 bits. Those of tables are not, as transformers has it, nor those of small
/// tensors, as bitsandbytes has it.
inline bool has_8bit_moments(OptimizerKind kind, const TensorSpec& spec) {
  constexpr std::int64_t least = 4096;
  return has_8bit_moments(kind) && spec.count() >= least && !spec.table;
}

/// Whether Muon updates it as a matrix: embeddings and the head it leaves to AdamW.
/// source  LLaMA-Factory 0.9.5, train/trainer_utils.py, _create_muon_optimizer
inline bool is_muon_matrix(const TensorSpec& spec) {
  const std::string_view path = spec.path.view();
  return spec.rank == 2 && path.find("embed") == path.npos && path.find("lm_head") == path.npos;
}

namespace detail {

/// Moments in the order of the values.
inline StatePart moments_of(std::string_view name, DType dtype, std::span<const TensorSlot> slots,
                            const parallel::Share& share, std::size_t total) {
  StatePart part{name, dtype, share.first, share.count, total, nullptr, {}};
  for (const std::size_t i : learning_slots(slots))
    part.places.push_back({i, slots[i].offset, shape_of(slots[i].spec)});
  return part;
}

/// Elements one tensor after another; each begins at a multiple of `step`. shape(spec): empty if a tensor has none.
template <class F>
StatePart placed(std::string_view name, DType dtype, std::span<const TensorSlot> slots, std::size_t step, F shape) {
  StatePart part{name, dtype, 0, 0, 0, nullptr, {}};
  for (const std::size_t i : learning_slots(slots)) {
    StatePart::Place place{i, part.total, shape(slots[i].spec)};
    if (place.shape.empty()) continue;
    part.total += (place.count() + step - 1) / step * step;
    part.places.push_back(std::move(place));
  }
  part.count = part.total;
  return part;
}

/// Moments of which those of large tensors have 8 bits, with a factor per block.
inline void add_8bit(std::vector<StatePart>& parts, OptimizerKind kind, std::span<const TensorSlot> slots,
                     std::string_view name, std::string_view most) {
  using Shape = std::vector<std::int64_t>;
  const auto small = [kind](const TensorSpec& s) { return has_8bit_moments(kind, s) ? Shape() : shape_of(s); };
  const auto large = [kind](const TensorSpec& s) { return has_8bit_moments(kind, s) ? shape_of(s) : Shape(); };
  const auto blocks = [kind](const TensorSpec& s) {
    return has_8bit_moments(kind, s) ? Shape{(s.count() + dynamic_block - 1) / dynamic_block} : Shape();
  };
  parts.push_back(placed(name, DType::F32, slots, 1, small));
  parts.push_back(placed(name, DType::U8, slots, dynamic_block, large));
  parts.push_back(placed(most, DType::F32, slots, 1, blocks));
}

}  // namespace detail

/// What an optimizer of this kind remembers of tensors that have `total` learning values, of which this rank updates a
/// share. Muon: of matrices, then of the others. 8 bits: for exp_avg, and for exp_avg_sq, three parts: in fp32, in 8
/// bits, the factors. dtype: of moments that are treated alike.
inline std::vector<StatePart> state_parts(OptimizerKind kind, std::span<const TensorSlot> slots,
                                          const parallel::Share& share, std::size_t total, DType dtype = DType::F32) {
  using Shape = std::vector<std::int64_t>;
  std::vector<StatePart> parts;
  switch (kind) {
    case OptimizerKind::adamw:
      return {detail::moments_of("exp_avg", dtype, slots, share, total),
              detail::moments_of("exp_avg_sq", dtype, slots, share, total)};
    case OptimizerKind::lion:
      return {detail::moments_of("exp_avg", dtype, slots, share, total)};
    case OptimizerKind::sgd_momentum:
      return {detail::moments_of("momentum_buffer", dtype, slots, share, total)};
    case OptimizerKind::sgd:
      return {};
    case OptimizerKind::adamw_8bit:
    case OptimizerKind::lion_8bit:
      detail::add_8bit(parts, kind, slots, "exp_avg", "exp_avg_absmax");
      if (kind == OptimizerKind::adamw_8bit) detail::add_8bit(parts, kind, slots, "exp_avg_sq", "exp_avg_sq_absmax");
      return parts;
    case OptimizerKind::muon: {
      const auto matrices = [](const TensorSpec& s) { return is_muon_matrix(s) ? shape_of(s) : Shape(); };
      const auto others = [](const TensorSpec& s) { return is_muon_matrix(s) ? Shape() : shape_of(s); };
      parts.push_back(detail::placed("momentum_buffer", DType::F32, slots, 1, matrices));
      for (const char* name : {"moment1", "moment2"})
        parts.push_back(detail::placed(name, DType::F32, slots, 1, others));
      return parts;
    }
    case OptimizerKind::adafactor: {
      const auto without = [](const TensorSpec& spec, int from_end) {
        Shape shape = shape_of(spec);
        if (spec.rank < 2) return Shape();
        shape.erase(shape.end() - from_end);
        return shape;
      };
      parts.push_back(detail::placed("exp_avg_sq_row", DType::F32, slots, 1,
                                     [&](const TensorSpec& spec) { return without(spec, 1); }));
      parts.push_back(detail::placed("exp_avg_sq_col", DType::F32, slots, 1,
                                     [&](const TensorSpec& spec) { return without(spec, 2); }));
      parts.push_back(detail::placed("exp_avg_sq", DType::F32, slots, 1,
                                     [](const TensorSpec& spec) { return spec.rank < 2 ? shape_of(spec) : Shape(); }));
      return parts;
    }
  }
  return parts;
}

}  // namespace lamina::train
