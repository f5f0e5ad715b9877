#pragma once
#include <span>
#include <string>
#include <type_traits>

#include <lamina/core/error.hpp>
#include <lamina/core/list.hpp>
#include <lamina/core/tensor/tensors.hpp>

/// The tensors of a type by the tags of their names, checked by the compiler:
///
///     tensors<Model>[language_model{}][layers{}[7]][mlp{}][up_proj{}]
///
/// is the place of the layer up_proj; Weights<Model> takes the same brackets (compose/plan/named_tensor.hpp). A stack
/// takes its tag with the number of a layer.
namespace lamina {

namespace detail {

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
};

template <class Tag, int offset, class... P>
constexpr auto find_param(List<P...>) {
  constexpr int place = [] {
    int at = 0, found = -1;
    ((found = found < 0 && std::is_same_v<typename P::name, Tag> ? at : found, ++at), ...);
    return found;
  }();
  if constexpr (place >= 0)
    return NameStep<Leaf<at<List<P...>, static_cast<std::size_t>(place)>>, offset + place>{};
  else
    return Nowhere{};
}
template <class M, class Tag, int offset>
constexpr auto find_below();
template <class Tag, int offset>
constexpr auto find_among(List<>) {
  return Nowhere{};
}
template <class Tag, int offset, class First, class... Rest>
constexpr auto find_among(List<First, Rest...>) {
  if constexpr (requires { typename First::tag; }) {
    if constexpr (std::is_same_v<typename First::tag, Tag>)
      return NameStep<First, offset>{};
    else
      return find_among<Tag, offset + tensor_count<First>>(List<Rest...>{});
  } else {
    using Found = decltype(find_below<First, Tag, offset>());
    if constexpr (std::is_same_v<Found, Nowhere>)
      return find_among<Tag, offset + tensor_count<First>>(List<Rest...>{});
    else
      return Found{};
  }
}
/// What bears the name Tag inside M, whose own name has been taken; modules without a name are looked into.
template <class M, class Tag, int offset>
constexpr auto find_below() {
  using Children = typename decltype([] {
    if constexpr (HasChildren<M>)
      return std::type_identity<typename M::children>{};
    else
      return std::type_identity<List<>>{};
  }())::type;
  using Child = decltype(find_among<Tag, offset>(Children{}));
  if constexpr (!std::is_same_v<Child, Nowhere>) {
    return Child{};
  } else {
    constexpr int own = offset + count_children(Children{});
    using Own = decltype([] {
      if constexpr (requires { typename M::params; })
        return find_param<Tag, own>(typename M::params{});
      else
        return Nowhere{};
    }());
    if constexpr (!std::is_same_v<Own, Nowhere>)
      return Own{};
    else if constexpr (requires { typename M::added_params; })
      return find_param<Tag, own + static_cast<int>(M::params::size)>(typename M::added_params{});
    else
      return Nowhere{};
  }
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
struct StepTo : decltype(find_below<M, Tag, 0>()) {
  using Found = decltype(find_below<M, Tag, 0>());
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
    return TensorPlace<Layer>{first + NameStep::offset + name.number * tensor_count<Layer>};
  }
};

/// All tensors of a model.
template <class Model>
inline constexpr TensorPlace<Model> tensors{};

}  // namespace lamina
