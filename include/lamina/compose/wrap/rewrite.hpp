#pragma once
#include <lamina/core/module.hpp>

/// Rewriting a type: how LoRA, freezing and fusion reach inside a composition that a user wrote. A rule is a type with
///
///     template <class M, class Path> applies     constexpr bool: replace this module?
///     template <class M, class Path> apply       ... by this one
///
/// Path is the List of tags from the root down to M. Where no rule applies, a composition is rebuilt from its
/// rewritten children and a layer stays as it is. Plain partial specialisation: nvcc and two compilers agree on it.
namespace lamina {

namespace detail {

template <class M, class Path>
struct PathBelow {
  using type = Path;
};
template <class M, class Path>
requires requires { typename M::tag; }
struct PathBelow<M, Path> {
  using type = append_t<Path, typename M::tag>;
};

template <class M, class Rule, class Path, bool BottomUp>
struct Rewrite;

template <class M, class Rule, class Path, bool BottomUp, class Children>
struct RewriteChildren;
template <class M, class Rule, class Path, bool BottomUp, class... C>
struct RewriteChildren<M, Rule, Path, BottomUp, List<C...>> {
  using below = typename PathBelow<M, Path>::type;
  using type = typename M::template rebuild<typename Rewrite<C, Rule, below, BottomUp>::type...>;
};
template <class M, class Rule, class Path, bool BottomUp>
struct RewriteChildren<M, Rule, Path, BottomUp, List<>> {
  using type = M;
};

template <class M, class Rule, class Path>
struct ApplyHere {
  using type = M;
};
template <class M, class Rule, class Path>
requires(Rule::template applies<M, Path>) struct ApplyHere<M, Rule, Path> {
  using type = typename Rule::template apply<M, Path>;
};

template <class M, class Rule, class Path, bool BottomUp>
struct Rewrite : ApplyHere<M, Rule, Path> {};
template <HasChildren M, class Rule, class Path>
struct Rewrite<M, Rule, Path, false> {
  static auto rewritten() {
    if constexpr (Rule::template applies<M, Path>) {
      return std::type_identity<typename Rule::template apply<M, Path>>{};
    } else {
      using plain = typename M::composition;  // a user's struct is its base
      return RewriteChildren<plain, Rule, Path, false, typename plain::children>{};
    }
  }
  using type = typename decltype(rewritten())::type;
};
template <HasChildren M, class Rule, class Path>
struct Rewrite<M, Rule, Path, true> {
  using plain = typename M::composition;
  using inner = typename RewriteChildren<plain, Rule, Path, true, typename plain::children>::type;
  using type = typename ApplyHere<inner, Rule, Path>::type;
};

}  // namespace detail

/// M with Rule applied, outermost modules first: the result of a replacement is not searched further.
template <class M, class Rule>
using rewrite_t = typename detail::Rewrite<M, Rule, List<>, false>::type;
/// The same from the layers up: a rule sees children that are already rewritten.
template <class M, class Rule>
using rewrite_bottom_up_t = typename detail::Rewrite<M, Rule, List<>, true>::type;

/// Whether Tag is a component of Path; whether it is the last one.
template <class Path, class Tag>
inline constexpr bool path_has = list_has<Path, Tag>;
template <class Path, class Tag>
inline constexpr bool path_ends = false;
template <class... P, class Tag>
requires(sizeof...(P) >
         0) inline constexpr bool path_ends<List<P...>, Tag> = std::is_same_v<at<List<P...>, sizeof...(P) - 1>, Tag>;

namespace detail {
template <class M, template <class> class Is>
struct Find;
template <template <class> class Is, class... C>
struct FindIn {
  using type = void;
};
template <template <class> class Is, class First, class... Rest>
struct FindIn<Is, First, Rest...> {
  using here = typename Find<First, Is>::type;
  using type = typename std::conditional_t<std::is_void_v<here>, FindIn<Is, Rest...>, std::type_identity<here>>::type;
};
template <template <class> class Is, class L>
struct FindInList;
template <template <class> class Is, class... C>
struct FindInList<Is, List<C...>> : FindIn<Is, C...> {};
template <class M, template <class> class Is>
struct Find {
  static auto found() {
    if constexpr (Is<M>::value)
      return std::type_identity<M>{};
    else if constexpr (HasChildren<M>)
      return FindInList<Is, typename M::children>{};
    else
      return std::type_identity<void>{};
  }
  using type = typename decltype(found())::type;
};

/// A user's struct is its base.
template <class M>
struct WithoutName {
  using type = M;
};
template <HasChildren M>
struct WithoutName<M> {
  using type = typename M::composition;
};
template <class M>
using without_name_t = typename WithoutName<M>::type;

/// What find_t may look for: attention, a table of learned positions, side outputs.
template <class M>
struct HasHeads {
  static constexpr bool value = requires { typename M::HeadsOf; };
};
template <class M>
struct HasTable {
  static constexpr bool value = requires { M::table_rows; };
};
template <class M>
struct HasTaps {
  static constexpr bool value = requires { M::taps_at; };
};
}  // namespace detail

/// The first module below M for which Is<module>::value holds; void if there is none.
template <class M, template <class> class Is>
using find_t = typename detail::Find<M, Is>::type;

}  // namespace lamina
