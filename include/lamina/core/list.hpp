#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

namespace lamina {

/// A list of types.
template <class... T>
struct List {
  static constexpr std::size_t size = sizeof...(T);
};

namespace detail {
template <std::size_t I, class T>
struct ListLeaf {
  using type = T;
};
template <class Indices, class... T>
struct ListMap;
template <std::size_t... I, class... T>
struct ListMap<std::index_sequence<I...>, T...> : ListLeaf<I, T>... {};
template <std::size_t I, class T>
ListLeaf<I, T> list_leaf(const ListLeaf<I, T>&);

template <std::size_t I, class L>
struct ListAt;
template <std::size_t I, class... T>
struct ListAt<I, List<T...>> {
  using type = typename decltype(detail::list_leaf<I>(ListMap<std::index_sequence_for<T...>, T...>{}))::type;
};
}  // namespace detail

/// The I-th type of a list.
template <class L, std::size_t I>
using at = typename detail::ListAt<I, L>::type;

template <class L, class T>
inline constexpr bool list_has = false;
template <class... L, class T>
inline constexpr bool list_has<List<L...>, T> = (std::is_same_v<L, T> || ...);

template <class L, class T>
struct append;
template <class... L, class T>
struct append<List<L...>, T> {
  using type = List<L..., T>;
};
/// The list with one more type at its end.
template <class L, class T>
using append_t = typename append<L, T>::type;

/// Calls f with std::integral_constant<std::size_t, 0> ... <N-1>.
template <std::size_t N, class F>
constexpr void for_constants(F&& f) {
  [&]<std::size_t... I>(std::index_sequence<I...>) { (f(std::integral_constant<std::size_t, I>{}), ...); }
  (std::make_index_sequence<N>{});
}

}  // namespace lamina
