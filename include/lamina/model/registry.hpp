#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/compose/plan/tables.hpp>
#include <lamina/compose/plan/windows.hpp>
#include <lamina/layer/activation.hpp>
#include <lamina/layer/patch_embed.hpp>
#include <lamina/layer/rms_norm.hpp>

/// Where run-time sizes meet compile-time models: what a composition's type holds of the fields of config.json, under
/// their own names, so that a directory's config finds the composition that computes what it says.
namespace lamina {

namespace detail {
template <class T>
concept Number = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;
}  // namespace detail

/// A value as messages show it, and as values are compared: 2048, 1e-06, true.
inline std::string fact_text(std::string_view word) { return std::string(word); }
inline std::string fact_text(std::same_as<bool> auto value) { return value ? "true" : "false"; }
template <detail::Number T>
std::string fact_text(T value) {
  if constexpr (std::is_floating_point_v<T>)
    if (value == std::floor(value) && std::abs(value) < 1e15) return fact_text(static_cast<std::int64_t>(value));
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}
inline std::string fact_text(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) text += (text.empty() ? "[" : ", ") + fact_text(value);
  return text + "]";
}

/// A field of a config: {"text_config.hidden_size", 2048}.
struct Fact {
  template <class Value>
  Fact(std::string name_, const Value& value_) : name(std::move(name_)), value(fact_text(value_)) {}
  Fact(std::string name_, std::initializer_list<int> values) : name(std::move(name_)), value(fact_text(values)) {}

  std::string name, value;
  bool operator==(const Fact&) const = default;
};

namespace detail {
template <class M>
struct IsRMSNorm : std::false_type {};
template <int D, class Eps>
struct IsRMSNorm<RMSNorm<D, Eps>> : std::bool_constant<(D > 0)> {
  static constexpr double eps = static_cast<double>(Eps::num) / static_cast<double>(Eps::den);
};
template <class M>
struct IsPatchEmbed {
  static constexpr bool value = requires { M::temporal_patch_size; };
};
template <class M>
struct IsSiluGate : std::false_type {};
template <int F>
struct IsSiluGate<SiluGate<F>> : std::bool_constant<(F > 0)> {};
template <class M>
struct IsActivation : std::false_type {};
template <int D, class F>
struct IsActivation<Activation<D, F>> : std::bool_constant<(D > 0)> {
  using function = F;
};
/// An activation or a gate of one's own, which has config.json's word for it: hidden_act.
template <class M>
struct HasHiddenAct {
  static constexpr bool value = requires { M::hidden_act; };
};
template <class M>
struct IsStack {
  static constexpr bool value = requires {
    M::repeats;
    typename M::In;
  };
};
template <class M>
struct HasExperts {
  static constexpr bool value = requires { typename M::Expert; };
};
template <class M>
struct IsTapped {
  static constexpr bool value = requires { typename M::Tap; };
};

template <class Tower, class Activation_>
struct ActivationIsKnown {
  static constexpr bool seen = true;
  static_assert(!std::is_void_v<Activation_>,
                "a model of the programs needs to know its MLP's activation, as config.json names it: give a gate of "
                "your own `static constexpr std::string_view hidden_act = \"relu\";`");
};
/// The activation between the two halves of a tower's MLP: one of one's own, a gate, or the first one, which is the
/// block's, because that MLP comes before the mergers.
template <class Tower>
struct MlpOf {
  template <class Wanted, class Else>
  using first_of = std::conditional_t<std::is_void_v<Wanted>, Else, Wanted>;
  using found = first_of<find_t<Tower, HasHiddenAct>, first_of<find_t<Tower, IsSiluGate>, find_t<Tower, IsActivation>>>;
  static_assert(Checked<ActivationIsKnown<Tower, found>>::seen);
  using type = std::conditional_t<std::is_void_v<found>, SiluGate<1>, found>;  // one mistake is one error
  static constexpr int intermediate_size = type::Out::width;
};

/// config.json's words for what MLPs compute.
template <class Layer>
constexpr std::string_view hidden_act() {
  if constexpr (HasHiddenAct<Layer>::value)
    return Layer::hidden_act;
  else if constexpr (IsSiluGate<Layer>::value)
    return "silu";
  else if constexpr (std::is_same_v<typename IsActivation<Layer>::function, kernel::GeluTanh>)
    return "gelu_pytorch_tanh";
  else
    return "gelu";
}

/// window_size in merged cells: what is left of it in the arithmetic.
inline constexpr std::string_view window_cells = "vision_config.window_size // patch_size // spatial_merge_size";
}  // namespace detail

namespace detail {
inline void add_expert_facts(int experts, int each, int width, bool normalised, std::vector<Fact>& facts) {
  facts.insert(facts.end(), {
                                {"text_config.num_experts", experts},
                                {"text_config.num_experts_per_tok", each},
                                {"text_config.moe_intermediate_size", width},
                                {"text_config.norm_topk_prob", normalised},
                            });
}
/// That a layer attends in a window.
inline Fact slides(int layer) {
  return {"text_config.layer_types[" + std::to_string(layer) + "]", std::string_view("sliding_attention")};
}
/// Layers that attend in a window, all in one of the same length.
template <class Stack>
void add_window_facts(std::vector<Fact>& facts) {
  int window = 0;
  for (int i = 0; i < Stack::repeats; ++i) {
    const int own = window_of<Stack>(i);
    if (own > 0) facts.push_back(slides(i));
    if (own > 0 && window > 0 && own != window)
      fail("a model of the programs has layers with windows of ", window, " and of ", own,
           " tokens: config.json's sliding_window can say one");
    window = std::max(window, own);
  }
  if (window > 0) facts.emplace_back("text_config.sliding_window", window);
}

template <class Model>
void add_tower_facts(std::vector<Fact>& facts) {
  using VisionStack = find_t<typename Model::Visual, IsStack>;
  using VisionCore = find_t<VisionStack, HasHeads>;
  using Table = find_t<typename Model::Visual, HasTable>;
  using Patches = find_t<typename Model::Visual, IsPatchEmbed>;
  using VisionMlp = MlpOf<VisionStack>;
  using Window = find_t<typename Model::Visual, HasWindow>;
  facts.insert(facts.end(), {
                                {"vision_config.depth", VisionStack::repeats},
                                {"vision_config.hidden_size", VisionStack::In::width},
                                {"vision_config.intermediate_size", VisionMlp::intermediate_size},
                                {"vision_config.hidden_act", hidden_act<typename VisionMlp::type>()},
                                {"vision_config.num_heads", VisionCore::HeadsOf::heads},
                                {"vision_config.out_hidden_size", Model::Visual::Out::width},
                                {"vision_config.in_channels", Patches::in_channels},
                                {"vision_config.temporal_patch_size", Patches::temporal_patch_size},
                                {"vision_config.patch_size", Patches::patch_size},
                                {"vision_config.spatial_merge_size", Model::merge},
                            });
  if constexpr (!std::is_void_v<Table>) facts.push_back({"vision_config.num_position_embeddings", Table::table_rows});
  if constexpr (!std::is_void_v<find_t<typename Model::Visual, IsTapped>>) {
    using Tapped = find_t<typename Model::Visual, IsTapped>;
    for (std::size_t k = 0; k < Tapped::taps_at.size(); ++k)
      facts.push_back({"vision_config.deepstack_visual_indexes[" + std::to_string(k) + "]", Tapped::taps_at[k]});
  }
  if constexpr (!std::is_void_v<Window>) facts.emplace_back(std::string(window_cells), Window::window_cells);
  for (int i = 0; i < VisionStack::repeats; ++i)
    if (!VisionCore::Mask::causal && VisionCore::Mask::windowed(0) && !VisionCore::Mask::windowed(i))
      facts.push_back({"vision_config.fullatt_block_indexes has " + std::to_string(i), 1});
}
}  // namespace detail

/// What a composition's type says of the fields of config.json that change what is computed.
template <class Model>
std::vector<Fact> facts_of() {
  using TextCore = find_t<typename Model::Language, detail::HasHeads>;
  using TextMlp = detail::MlpOf<typename Model::Language>;
  std::vector<Fact> facts = {
      {"text_config.vocab_size", Model::vocab_size},
      {"text_config.hidden_size", Model::hidden_size},
      {"text_config.hidden_act", detail::hidden_act<typename TextMlp::type>()},
      {"text_config.rms_norm_eps", detail::IsRMSNorm<find_t<typename Model::Language, detail::IsRMSNorm>>::eps},
      {"text_config.num_hidden_layers", Model::Stack_::repeats},
      {"text_config.num_attention_heads", TextCore::HeadsOf::heads},
      {"text_config.num_key_value_heads", TextCore::HeadsOf::kv_heads},
      {"text_config.head_dim", TextCore::HeadsOf::head_dim},
      {"text_config.rope_theta", static_cast<double>(TextCore::Rope::theta)},
      {"tie_word_embeddings", Model::Head::tied},
  };
  using Mixture = find_t<typename Model::Language, detail::HasExperts>;
  if constexpr (std::is_void_v<Mixture>)
    facts.emplace_back("text_config.intermediate_size", TextMlp::intermediate_size);
  else
    detail::add_expert_facts(Mixture::n, Mixture::k, TextMlp::intermediate_size, Mixture::normalised, facts);
  if constexpr (requires { typename TextCore::Rope::section; }) {
    using Section = typename TextCore::Rope::section;
    facts.push_back({"text_config.mrope_section", {Section::time, Section::height, Section::width}});
    facts.emplace_back("text_config.mrope_interleaved", TextCore::Rope::interleaved);
  }
  detail::add_window_facts<typename detail::Innermost<typename Model::Stack_>::type>(facts);
  if constexpr (Model::reads_images) detail::add_tower_facts<Model>(facts);
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
      lines.push_back(f.name + " is " + f.value + ", " + std::string(model_name) + " has none");
    else if (other->value != f.value)
      lines.push_back(f.name + " is " + f.value + ", " + std::string(model_name) + " has " + other->value);
  }
  for (const Fact& f : model)
    if (!value_in(config, f.name))
      lines.push_back(f.name + " is not given, " + std::string(model_name) + " has " + f.value);
  return lines;
}

}  // namespace lamina
