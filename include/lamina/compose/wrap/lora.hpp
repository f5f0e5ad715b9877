#pragma once
#include <lamina/compose/wrap/frozen.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/layer/adapter/adapted_linear.hpp>

namespace lamina {

namespace detail {
/// Whether the last tag of a path is that of an output head (compose/vision_language.hpp).
template <class Path>
inline constexpr bool ends_in_head = [] {
  if constexpr (Path::size > 0) return requires {
      at<Path, Path::size - 1>::output_head;
    };
  else
    return false;
}();
}  // namespace detail

/// Which linear layers an adapter goes to: those whose last name component is one of Tags.
template <class... Tags>
struct Targets {
  template <class Path>
  static constexpr bool match = (path_ends<Path, Tags> || ...);
};
/// Every linear layer but the output head; with Rank<Dyn>, which of them get a rank above 0 is decided at run time.
struct AllLinears {
  template <class Path>
  static constexpr bool match = !detail::ends_in_head<Path>;
};
/// Only below this name: LLaMA-Factory's `all` means the language model while the vision tower is frozen.
template <class Tag, class Inner = AllLinears>
struct Within {
  template <class Path>
  static constexpr bool match = path_has<Path, Tag>&& Inner::template match<Path>;
};

namespace detail {
/// A layer with an adapter that was to get another one.
template <class L>
struct AdaptedTwice : L {};
template <class M>
struct IsAdaptedTwice {
  static constexpr bool value = false;
};
template <class L>
struct IsAdaptedTwice<AdaptedTwice<L>> {
  static constexpr bool value = true;
};
/// What becomes of a layer with parameters, frozen or not. The adapters of a LoRA inside this one stay as they are.
template <class M, class R, class A, bool targeted>
struct Adapt {
  using type = std::conditional_t<is_linear<M> && targeted, AdaptedLinear<M, R, A>, Frozen<M>>;
};
template <class M, class R, class A, bool targeted>
struct Adapt<Frozen<M>, R, A, targeted> : Adapt<M, R, A, targeted> {};
template <class L, class Rank_, class Alpha_, class R, class A, bool targeted>
struct Adapt<AdaptedLinear<L, Rank_, Alpha_>, R, A, targeted> {
  using adapted = AdaptedLinear<L, Rank_, Alpha_>;
  using type = std::conditional_t<targeted, AdaptedTwice<adapted>, adapted>;
};
template <class L, class Rank_, class Alpha_, class R, class A>
struct Adapt<Frozen<AdaptedLinear<L, Rank_, Alpha_>>, R, A, false> {
  using type = Frozen<AdaptedLinear<L, Rank_, Alpha_>>;
};
template <class M>
inline constexpr bool is_frozen_layer = false;
template <ParametricLayer M>
inline constexpr bool is_frozen_layer<Frozen<M>> = true;
template <class R, class A, class T>
struct AdaptRule {
  template <class M, class Path>
  static constexpr bool applies = ParametricLayer<M> || is_frozen_layer<M>;
  template <class M, class Path>
  using apply = typename Adapt<M, R, A, T::template match<Path>>::type;
};
}  // namespace detail

/// M with low-rank adapters on its target layers and everything else frozen. Rank<Dyn>, Alpha<Dyn> and
/// AllLinears leave the choice to run time, as programs that read YAML need. Around another LoRA it adapts further
/// layers: LoRA<LoRA<M, Rank<8>, ...>, Rank<4>, ...> has two ranks.
template <class M, class R, class A, class T>
struct LoRA : rewrite_t<M, detail::AdaptRule<R, A, T>> {
  using base_model = M;
  static_assert(
      std::is_void_v<find_t<rewrite_t<M, detail::AdaptRule<R, A, T>>, detail::IsAdaptedTwice>>,
      "LoRA: a layer that Targets<...> names has an adapter already: name other layers, or leave it to one of "
      "the two LoRA<...>");
  static_assert(learns<rewrite_t<M, detail::AdaptRule<R, A, T>>>,
                "LoRA: no linear layer of the model bears any of the names in Targets<...>");
};

/// The model that merging an adapted model returns: M for LoRA<M, ...>.
template <class M>
using merged_t = typename M::base_model;

}  // namespace lamina
