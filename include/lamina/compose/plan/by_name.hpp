#pragma once
#include <boost/hana/at_key.hpp>
#include <boost/hana/concat.hpp>
#include <boost/hana/contains.hpp>
#include <boost/hana/map.hpp>
#include <boost/hana/pair.hpp>
#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>
#include <boost/hana/unpack.hpp>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/core/list.hpp>
#include <lamina/core/tensor/distinct_names.hpp>
#include <lamina/core/tensor/tensors.hpp>

/// The tensors of a type by the tags of their names, checked by the compiler:
///
///     tensors<Model>[language_model{}][layers{}[7]][mlp{}][up_proj{}]
///
/// is the place of the layer up_proj; Weights<Model> takes the same brackets (compose/plan/named_tensor.hpp). A stack
/// takes its tag with the number of a layer. Of each module a Boost.Hana map from tags to places says what is below it.
namespace lamina {

namespace detail {

namespace hana = boost::hana;

/// Where a name leads to from a module: another module below it, or one of its own parameters; how many tensors come
/// before it, and whether it is a stack.
template <class Target_, int offset_>
struct NameStep {
  using Target = Target_;
  static constexpr int offset = offset_;
};
struct Nowhere {
  using Target = List<>;
  static constexpr int offset = 0;
};

/// A parameter, as the end of a path; one layer of a stack, whose name has been taken.
template <class P>
struct Leaf {
  using params = List<P>;
};
template <class Stack>
struct LayerOf {
  using children = typename Stack::children;
  static constexpr int first(int layer) { return layer * count_children<LayerOf>(children{}); }
};
/// Layers of several kinds are one type here, so their tensors must be the same.
template <class First, class Other>
struct SameTensors {
  static constexpr bool seen = true;
  static_assert(std::is_same_v<typename TensorPaths<First, List<>>::type, typename TensorPaths<Other, List<>>::type>,
                "tensors[...]: the layers of this stack have different tensors, SameTensors<first, other>, so a number "
                "does not tell which: use for_each_tensor");
};
template <class Stack>
requires requires { Stack::kind_of(0); }
struct LayerOf<Stack> {
  using children = List<at<typename Stack::children, 0>>;
  template <class... C>
  static constexpr bool same(List<C...>) {
    return (Checked<SameTensors<at<children, 0>, C>>::seen && ...);
  }
  static_assert(same(typename Stack::children{}));
  static constexpr int first(int layer) { return layer * count_children<LayerOf>(children{}); }
};

/// The pair of a map of names.
template <class Tag, class Target, int offset>
using NamedStep = hana::pair<hana::type<Tag>, NameStep<Target, offset>>;

template <int offset, class... P, std::size_t... I>
constexpr auto steps_to_params(List<P...>, std::index_sequence<I...>) {
  return hana::tuple<NamedStep<typename P::name, Leaf<P>, offset + static_cast<int>(I)>...>{};
}
template <int offset, class Params>
constexpr auto steps_to_params() {
  return steps_to_params<offset>(Params{}, std::make_index_sequence<Params::size>{});
}
template <class M, int offset>
constexpr auto steps_below();
template <int offset>
constexpr auto steps_to_children(List<>) {
  return hana::tuple<>{};
}
template <int offset, class First, class... Rest>
constexpr auto steps_to_children(List<First, Rest...>) {
  const auto rest = steps_to_children<offset + tensor_count<First>>(List<Rest...>{});
  if constexpr (requires { typename First::tag; })
    return hana::concat(hana::tuple<NamedStep<typename First::tag, First, offset>>{}, rest);
  else
    return hana::concat(steps_below<First, offset>(), rest);
}
/// The names below M and where each leads. A module that has no name adds those of its own children.
template <class M, int offset>
constexpr auto steps_below() {
  using Children = typename decltype([] {
    if constexpr (HasChildren<M>)
      return std::type_identity<typename M::children>{};
    else
      return std::type_identity<List<>>{};
  }())::type;
  constexpr int own = offset + count_children<M>(Children{});
  const auto children = steps_to_children<offset>(Children{});
  if constexpr (requires { typename M::added_params; })
    return hana::concat(
        children, hana::concat(steps_to_params<own, typename M::params>(),
                               steps_to_params<own + static_cast<int>(M::params::size), typename M::added_params>()));
  else if constexpr (requires { typename M::params; })
    return hana::concat(children, steps_to_params<own, typename M::params>());
  else
    return children;
}
/// The same as a map: from the type of a tag to its NameStep.
template <class M>
inline constexpr auto names_below = hana::unpack(steps_below<M, 0>(), hana::make_map);

template <class M, class Tag>
constexpr auto find_below() {
  if constexpr (decltype(hana::contains(names_below<M>, hana::type_c<Tag>))::value)
    return hana::at_key(names_below<M>, hana::type_c<Tag>);
  else
    return Nowhere{};
}

template <class Found, class Tag>
struct NameBelow {
  static constexpr bool seen = true;
  static_assert(!std::is_same_v<Found, Nowhere>,
                "tensors[...]: nothing below the name so far bears this tag, which NameBelow<Nowhere, tag> names");
};
template <bool numbered, bool is_stack>
struct NumberOfLayer {
  static constexpr bool seen = true;
  static_assert(numbered || !is_stack, "tensors[...]: this tag names a stack: say which layer, as in [layers{}[7]]");
  static_assert(!numbered || is_stack, "tensors[...]: a number goes to the tag of a stack alone");
};
template <class M>
inline constexpr bool is_stack = requires {
  M::repeats;
};
template <class M, class Tag, bool numbered>
struct StepTo : decltype(find_below<M, Tag>()) {
  using Found = decltype(find_below<M, Tag>());
  static_assert(Checked<NameBelow<Found, Tag>>::seen);
  static_assert(Checked<NumberOfLayer<numbered, is_stack<typename Found::Target>>>::seen);
};

}  // namespace detail

/// A place in the names of a model: all tensors of the part M of it, from the first on.
template <class M>
struct TensorPlace {
  int first = 0;
  static constexpr int count = tensor_count<M>;

  template <class Tag>
  constexpr auto operator[](Tag) const {
    using NameStep = detail::StepTo<M, Tag, false>;
    return TensorPlace<typename NameStep::Target>{first + NameStep::offset};
  }
  /// Error if the stack has no layer of that number.
  template <class Tag>
  constexpr auto operator[](NumberedName<Tag> name) const {
    using NameStep = detail::StepTo<M, Tag, true>;
    using Layer = detail::LayerOf<typename NameStep::Target>;
    if (name.number < 0 || name.number >= NameStep::Target::repeats)
      fail("tensors[", Tag::text, "{}[", name.number, "]]: there are ", NameStep::Target::repeats, " of them");
    return TensorPlace<Layer>{first + NameStep::offset + Layer::first(name.number)};
  }
};

/// All tensors of a model.
template <class Model>
inline constexpr TensorPlace<Model> tensors{};

}  // namespace lamina
