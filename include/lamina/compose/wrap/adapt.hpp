#pragma once
#include <lamina/compose/wrap/frozen.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/layer/adapter/learning_base.hpp>

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
/// Everywhere but below this name.
template <class Tag, class Inner = AllLinears>
struct Outside {
  template <class Path>
  static constexpr bool reaches = !path_has<Path, Tag>;
  template <class Path>
  static constexpr bool match = reaches<Path>&& Inner::template match<Path>;
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
/// What becomes of a layer with parameters, frozen or not. The adapters of an Adapt inside this one stay as they are.
template <class M, class Kind, bool targeted>
struct AdaptLayer {
  using type = std::conditional_t<is_linear<M> && targeted, typename Kind::template layer<M>, Frozen<M>>;
};
template <class M, class Kind, bool targeted>
struct AdaptLayer<Frozen<M>, Kind, targeted> : AdaptLayer<M, Kind, targeted> {};
template <AdaptedLayer M, class Kind, bool targeted>
struct AdaptLayer<M, Kind, targeted> {
  using type = std::conditional_t<targeted, AdaptedTwice<M>, M>;
};
template <AdaptedLayer M, class Kind>
struct AdaptLayer<Frozen<M>, Kind, false> {
  using type = Frozen<M>;
};
template <class M>
inline constexpr bool is_frozen_layer = false;
template <ParametricLayer M>
inline constexpr bool is_frozen_layer<Frozen<M>> = true;
template <class Kind, class T>
struct AdaptRule {
  template <class M, class Path>
  static constexpr bool applies = ParametricLayer<M> || is_frozen_layer<M>;
  template <class M, class Path>
  using apply = typename AdaptLayer<M, Kind, T::template match<Path>>::type;
};
}  // namespace detail

/// M with an adapter of one kind on its target layers and everything else frozen. Around another Adapt it adapts
/// further layers, of its own kind or rank. A kind is a type with
///
///     template <class L> layer    L with the adapter: parameters, forward, backward (layer/adapter/adapter_on.hpp)
///     merge(w, s, P...)           W' of W, the scale, and the parameters in their order: matrices of Eigen's, fp32
///     peft_type, peft_config(config, modules)   what PEFT calls it (checkpoint/adapter/save_adapter.hpp), if it does
///
/// LowRank and WeightDecomposed are the library's; examples/research has others.
template <class M, class Kind, class T>
struct Adapt : rewrite_t<M, detail::AdaptRule<Kind, T>> {
  using base_model = M;
  using adapter_kind = Kind;
  static_assert(
      std::is_void_v<find_t<rewrite_t<M, detail::AdaptRule<Kind, T>>, detail::IsAdaptedTwice>>,
      "Adapt: a layer that Targets<...> names has an adapter already: name other layers, or leave it to one of "
      "the two adapters");
  static_assert(learns<rewrite_t<M, detail::AdaptRule<Kind, T>>>,
                "Adapt: no linear layer of the model bears any of the names in Targets<...>");
};

namespace detail {
template <class T, class Path>
inline constexpr bool targets_reach = true;
template <class T, class Path>
requires requires { T::template reaches<Path>; }
inline constexpr bool targets_reach<T, Path> = T::template reaches<Path>;

template <class M, class Kind, bool targeted>
struct AdaptLayerBeside {
  using type = M;
};
template <class M, class Kind>
requires(is_linear<M>) struct AdaptLayerBeside<M, Kind, true> {
  using type = LearningBase<typename Kind::template layer<M>>;
};
template <class Kind, class T>
struct AdaptBesideRule {
  template <class M, class Path>
  static constexpr bool applies = ParametricLayer<M>;
  template <class M, class Path>
  using apply = std::conditional_t<targets_reach<T, Path>,
                                   typename AdaptLayerBeside<M, Kind, T::template match<Path>>::type, Frozen<M>>;
};
}  // namespace detail

/// The same, but that whether another tensor learns as well is decided at run time, as programs that read
/// additional_target need; outside of what T reaches everything is frozen. What is not chosen costs no memory and
/// almost no work: gradients go to the first layer's input.
template <class M, class Kind, class T>
struct AdaptBeside : rewrite_t<M, detail::AdaptBesideRule<Kind, T>> {
  using base_model = M;
  using adapter_kind = Kind;
};

/// The model that merging an adapted model returns: M for Adapt<M, ...>.
template <class M>
using merged_t = typename M::base_model;

}  // namespace lamina
