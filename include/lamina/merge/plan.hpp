#pragma once
#include <unordered_map>

#include <lamina/merge/fold.hpp>

/// Which adapter touches which tensor of the base, settled and checked before anything is written.
namespace lamina::merge {

/// A tensor of the output and how it comes about.
struct OutputTensor {
  TensorSource source;
  std::vector<std::pair<const checkpoint::Adapter*, const checkpoint::LoraPair*>> deltas;  ///< in the adapters' order
};

/// The output's tensors, named and ordered as the base's, each with one OutputTensor.
struct MergePlan {
  std::vector<checkpoint::TensorInfo> tensors;
  std::unordered_map<std::string, OutputTensor> outputs;  ///< by the tensor's name
  std::int64_t merged_modules = 0, replaced_tensors = 0;
};

/// The names of a head and of the embedding that it is; no names: a head of its own.
struct TiedTable {
  std::string_view head = "", embedding = "";
};

namespace detail {

/// "was the adapter trained on another model?", with what its config says of that.
inline std::string other_model(const checkpoint::Adapter& adapter) {
  const std::string& named = adapter.config().base_model_name_or_path;
  return ": was the adapter trained on another model" +
         (named.empty() ? "?" : " than " + named + ", which its config names?");
}

inline OutputTensor& output_for(MergePlan& plan, const checkpoint::Checkpoint& base, const checkpoint::Adapter& adapter,
                                const std::string& tensor, std::string_view tied_head) {
  if (const checkpoint::TensorInfo* info = base.find(tensor)) return plan.outputs.at(info->name);
  if (!tied_head.empty() && checkpoint::detail::under(tensor, tied_head))
    fail(adapter.path().string(), ": changes ", tied_head, ", but ", base.path().string(),
         " ties it to the embedding and has no ", tied_head,
         ".weight: such an adapter cannot be merged without untying them");
  fail(adapter.path().string(), ": ", tensor, " is not in ", base.path().string(), other_model(adapter));
}

inline void plan_pair(MergePlan& plan, const checkpoint::Checkpoint& base, const checkpoint::Adapter& adapter,
                      const checkpoint::LoraPair& pair, std::string_view tied_head) {
  OutputTensor& output = output_for(plan, base, adapter, pair.module + ".weight", tied_head);
  const checkpoint::TensorInfo& w = *output.source.info;
  if (!checkpoint::is_floating(w.dtype))
    fail(base.path().string(), ": ", w.name, " is ", name_of(w.dtype),
         ": a quantised base cannot be merged into, use the bf16 release");
  if (w.shape != std::vector<std::int64_t>{pair.out_features, pair.in_features})
    fail(adapter.path().string(), ": ", pair.b, " x ", pair.a, " is (", pair.out_features, ", ", pair.in_features,
         "), ", w.name, " of the base is ", checkpoint::shape_text(w.shape), other_model(adapter));
  output.deltas.emplace_back(&adapter, &pair);
  ++plan.merged_modules;
}

/// Whether an adapter replaces a tied head by a copy of the table that it replaces as well.
inline bool copies_table(const checkpoint::Adapter& adapter, const checkpoint::ReplacedTensor& replaced,
                         const TiedTable& tied) {
  if (tied.head.empty() || replaced.tensor != cat(tied.head, ".weight")) return false;
  return std::any_of(adapter.replaced().begin(), adapter.replaced().end(), [&](const auto& other) {
    return other.tensor == cat(tied.embedding, ".weight") &&
           checkpoint::are_copies(adapter.weights(), replaced.source, other.source);
  });
}

inline void plan_replaced(MergePlan& plan, const checkpoint::Checkpoint& base, const checkpoint::Adapter& adapter,
                          const checkpoint::ReplacedTensor& replaced, std::string_view tied_head) {
  OutputTensor& output = output_for(plan, base, adapter, replaced.tensor, tied_head);
  const checkpoint::TensorInfo& from = adapter.weights().at(replaced.source);
  if (from.shape != output.source.info->shape)
    fail(adapter.path().string(), ": ", replaced.source, " is ", checkpoint::shape_text(from.shape), ", ",
         output.source.info->name, " of the base is ", checkpoint::shape_text(output.source.info->shape),
         other_model(adapter));
  if (!checkpoint::is_floating(from.dtype))
    fail(adapter.path().string(), ": ", from.name, " is ", name_of(from.dtype), ", wanted a floating type");
  output.deltas.clear();  // what earlier adapters did to it is overwritten
  output.source = {&adapter.weights(), &from};
  ++plan.replaced_tensors;
}

}  // namespace detail

/// Matches every tensor of every adapter to a tensor of the base. Floating tensors come out in dtype, others as they
/// are. Error if a tensor is unknown or its shape differs: the adapter belongs to another model. base and adapters must
/// outlive the plan.
inline MergePlan make_plan(const checkpoint::Checkpoint& base, std::span<const checkpoint::Adapter> adapters,
                           DType dtype, const TiedTable& tied) {
  MergePlan plan;
  for (const checkpoint::TensorInfo& info : base.tensors()) {
    checkpoint::TensorInfo out = info;
    if (checkpoint::is_floating(info.dtype)) {
      out.dtype = dtype;
      out.bytes = static_cast<std::size_t>(checkpoint::element_count(info.shape)) * size_bytes(dtype);
    }
    plan.tensors.push_back(out);
    plan.outputs[info.name].source = {&base, &info};
  }
  for (const checkpoint::Adapter& adapter : adapters) {
    for (const auto& replaced : adapter.replaced())
      if (!detail::copies_table(adapter, replaced, tied))
        detail::plan_replaced(plan, base, adapter, replaced, tied.head);
    for (const auto& pair : adapter.pairs()) detail::plan_pair(plan, base, adapter, pair, tied.head);
  }
  return plan;
}

/// Computes one tensor of a plan into out.
inline void make_tensor(const OutputTensor& output, const checkpoint::TensorInfo& info, std::span<std::byte> out) {
  std::vector<AdapterDelta> deltas;
  for (const auto& [adapter, pair] : output.deltas) deltas.push_back(AdapterDelta::load(*adapter, *pair));
  fold(output.source, deltas, info.dtype, out);
}

}  // namespace lamina::merge
