#pragma once
#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/checkpoint/quantized/source.hpp>
#include <lamina/checkpoint/tensors.hpp>
#include <lamina/core/log.hpp>
#include <lamina/core/tensor/tensors.hpp>

namespace lamina::checkpoint {

namespace detail {
/// Whether there are parts, and a place for each.
inline bool hold_all(const std::vector<const StackedPart*>& parts, const std::set<std::string>& places) {
  return !parts.empty() && std::all_of(parts.begin(), parts.end(),
                                       [&](const StackedPart* part) { return places.contains(part->info.name); });
}
}  // namespace detail

/// Holds a checkpoint's tensors against those that its model takes. A tensor of the towers or of the head that the
/// model has no place for means that config.json and the weights disagree: an Error, though transformers goes on with a
/// warning. Tensors of anything else, such as a reward model's head, get a note. Nothing is said of
/// rotary_emb.inv_freq, which follows from rope_theta, nor of tied_head, the
/// tensor that only copies the embedding ("": none).
/// quantized: whose parts belong to their matrices.
inline void expect_no_others(const Checkpoint& weights, std::span<const TensorSpec> taken, std::string_view tied_head,
                             const QuantizedSources& quantized = {}) {
  std::set<std::string> places;
  for (const TensorSpec& spec : taken) places.emplace(spec.path.view());
  for (const auto& [weight, source] : quantized)
    for (std::string& part : parts_of(weight)) places.insert(std::move(part));
  std::vector<std::string> surplus, foreign;
  for (const TensorInfo& info : weights.tensors()) {
    const std::string name = canonical_name(info.name, weights.names());
    if (places.contains(name) || detail::hold_all(weights.parts_of(info), places) ||
        name.ends_with("rotary_emb.inv_freq") || name == tied_head)
      continue;
    (is_part(name, weights.names()) ? surplus : foreign).push_back(info.name);
  }
  const auto named = [](const std::vector<std::string>& names) {
    return names.front() + (names.size() == 1 ? "" : cat(" and ", names.size() - 1, " more"));
  };
  if (!surplus.empty())
    fail(weights.path().string(), ": the model of config.json has no place for ", named(surplus),
         ": do config.json and the weights belong together?");
  if (!foreign.empty())
    note(cat(weights.path().string(), ": ", named(foreign), " are tensors of no part of the model: they are not read"));
}

/// Error if an adapter replaces a tensor that the model does not have. tied_head: the tensor that would be a copy of
/// `embedding` (""; none): one that is a copy goes with it.
inline void expect_places(std::span<const AdapterLayers> adapters, std::span<const TensorSpec> taken,
                          std::string_view tied_head, const std::string& embedding) {
  for (const AdapterLayers& adapter : adapters)
    for (const auto& [tensor, in_file] : adapter.replaced) {
      const bool found = std::any_of(taken.begin(), taken.end(),
                                     [&name = tensor](const TensorSpec& spec) { return spec.path.view() == name; });
      if (found) continue;
      const std::string subject = cat(adapter.file->path().string(), ": replaces ", tensor);
      if (tensor != tied_head) fail(subject, ", which this model does not have: was it trained on another model?");
      const auto table = adapter.replaced.find(embedding);
      if (table == adapter.replaced.end() || !are_copies(*adapter.file, in_file, table->second))
        fail(subject, ", but the model ties it to its embedding: such an adapter was trained without ",
             "ensure_weight_tying, and fits no model of this kind");
    }
}

}  // namespace lamina::checkpoint
