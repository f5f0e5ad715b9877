#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/compose/tables.hpp>
#include <lamina/layer/activation.hpp>

/// Where run-time sizes meet compile-time models: the numbers that a composition's type holds, under config.json's own
/// names, so that a directory's config finds the composition that fits it.
namespace lamina {

/// A number of a config: {"text_config.hidden_size", 2048}.
struct Fact {
  std::string name;
  std::int64_t value = 0;
  bool operator==(const Fact&) const = default;
};

namespace detail {
template <class M>
struct IsSiluGate : std::false_type {};
template <int F>
struct IsSiluGate<SiluGate<F>> : std::bool_constant<(F > 0)> {};
template <class M>
struct IsActivation : std::false_type {};
template <int D, class F>
struct IsActivation<Activation<D, F>> : std::bool_constant<(D > 0)> {};
template <class M>
struct IsStack {
  static constexpr bool value = requires {
    M::repeats;
    typename M::In;
  };
};
template <class M>
struct IsTapped {
  static constexpr bool value = requires { typename M::Tap; };
};

template <class Tower>
constexpr int intermediate_size() {
  using gate = find_t<Tower, IsSiluGate>;
  if constexpr (!std::is_void_v<gate>)
    return gate::Out::width;
  else
    return find_t<Tower, IsActivation>::Out::width;  // the first one: the block's MLP comes before the mergers
}
}  // namespace detail

/// What a composition's type says of its sizes.
template <class Model>
std::vector<Fact> facts_of() {
  using TextCore = find_t<typename Model::Language, detail::HasHeads>;
  using VisionStack = find_t<typename Model::Visual, detail::IsStack>;
  using VisionCore = find_t<VisionStack, detail::HasHeads>;
  using Table = find_t<typename Model::Visual, detail::HasTable>;
  std::vector<Fact> facts = {
      {"text_config.vocab_size", Model::vocab_size},
      {"text_config.hidden_size", Model::hidden_size},
      {"text_config.intermediate_size", detail::intermediate_size<typename Model::Language>()},
      {"text_config.num_hidden_layers", Model::Stack_::repeats},
      {"text_config.num_attention_heads", TextCore::HeadsOf::heads},
      {"text_config.num_key_value_heads", TextCore::HeadsOf::kv_heads},
      {"text_config.head_dim", TextCore::HeadsOf::head_dim},
      {"text_config.rope_theta", TextCore::Rope::theta},
      {"vision_config.depth", VisionStack::repeats},
      {"vision_config.hidden_size", VisionStack::In::width},
      {"vision_config.intermediate_size", detail::intermediate_size<VisionStack>()},
      {"vision_config.num_heads", VisionCore::HeadsOf::heads},
      {"vision_config.out_hidden_size", Model::Visual::Out::width},
      {"in_channels * temporal_patch_size * patch_size^2", Model::patch_width},
      {"vision_config.spatial_merge_size", Model::merge},
      {"tie_word_embeddings", Model::Head::tied},
  };
  if constexpr (!std::is_void_v<Table>) facts.push_back({"vision_config.num_position_embeddings", Table::table_rows});
  if constexpr (!std::is_void_v<find_t<typename Model::Visual, detail::IsTapped>>) {
    using Tapped = find_t<typename Model::Visual, detail::IsTapped>;
    for (std::size_t k = 0; k < Tapped::taps_at.size(); ++k)
      facts.push_back({"vision_config.deepstack_visual_indexes[" + std::to_string(k) + "]", Tapped::taps_at[k]});
  }
  for (int i = 0; i < VisionStack::repeats; ++i)
    if (!VisionCore::Mask::causal && VisionCore::Mask::windowed(0) && !VisionCore::Mask::windowed(i))
      facts.push_back({"vision_config.fullatt_block_indexes has " + std::to_string(i), 1});
  return facts;
}

/// The facts in which a config differs from a composition, as "name is 1, qwen3_vl_2b has 2" lines.
inline std::vector<std::string> differences(const std::vector<Fact>& config, const std::vector<Fact>& model,
                                            std::string_view model_name) {
  std::vector<std::string> lines;
  const auto value_in = [](const std::vector<Fact>& facts, const std::string& name) -> const Fact* {
    for (const Fact& f : facts)
      if (f.name == name) return &f;
    return nullptr;
  };
  for (const Fact& f : config) {
    const Fact* other = value_in(model, f.name);
    if (!other)
      lines.push_back(f.name + " is " + std::to_string(f.value) + ", " + std::string(model_name) + " has none");
    else if (other->value != f.value)
      lines.push_back(f.name + " is " + std::to_string(f.value) + ", " + std::string(model_name) + " has " +
                      std::to_string(other->value));
  }
  for (const Fact& f : model)
    if (!value_in(config, f.name))
      lines.push_back(f.name + " is not given, " + std::string(model_name) + " has " + std::to_string(f.value));
  return lines;
}

}  // namespace lamina
