#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include <lamina/core/backend.hpp>
#include <lamina/core/list.hpp>
#include <lamina/core/module.hpp>

/// Whether every tensor of a type has a name of its own, found at compile time: two of one name would be one in a
/// checkpoint.
namespace lamina::detail {

template <class... Lists>
struct Joined {
  using type = List<>;
};
template <class... T>
struct Joined<List<T...>> {
  using type = List<T...>;
};
template <class... A, class... B, class... Rest>
struct Joined<List<A...>, List<B...>, Rest...> : Joined<List<A..., B...>, Rest...> {};
template <class... Lists>
constexpr typename Joined<Lists...>::type joined(Lists...) {
  return {};
}

/// The paths of M's tensors below Path, each a List of tags. The layers of a stack count once, since their numbers
/// differ.
template <class M, class Path>
struct TensorPaths;
template <class Path, class... P>
constexpr auto param_paths(List<P...>) {
  return List<append_t<Path, typename P::name>...>{};
}
template <class Path, class... C>
constexpr auto child_paths(List<C...>) {
  return joined(typename TensorPaths<C, Path>::type{}...);
}
/// Stands for the numbers of the layers of a kind, which are not those of another.
template <int k>
struct NumbersOfKind {
  static constexpr char letter = 'a' + k;
  static constexpr std::string_view text{&letter, 1};
};
template <class Path, class... C>
constexpr auto kind_paths(List<C...>) {
  return []<int... K>(std::integer_sequence<int, K...>) {
    return joined(typename TensorPaths<C, append_t<Path, NumbersOfKind<K>>>::type{}...);
  }
  (std::make_integer_sequence<int, sizeof...(C)>{});
}
template <class M, class Path>
constexpr auto tensor_paths() {
  const auto below = [] {
    if constexpr (requires { typename M::tag; })
      return append_t<Path, typename M::tag>{};
    else
      return Path{};
  }();
  using Below = std::remove_const_t<decltype(below)>;
  const auto own = [] {
    if constexpr (requires { typename M::params; })
      return param_paths<Below>(typename M::params{});
    else
      return List<>{};
  }();
  const auto added = [] {
    if constexpr (requires { typename M::added_params; })
      return param_paths<Below>(typename M::added_params{});
    else
      return List<>{};
  }();
  const auto children = [] {
    if constexpr (requires { M::kind_of(0); })
      return kind_paths<Below>(typename M::children{});
    else if constexpr (HasChildren<M>)
      return child_paths<Below>(typename M::children{});
    else
      return List<>{};
  }();
  return joined(children, own, added);
}
template <class M, class Path>
struct TensorPaths {
  using type = std::remove_const_t<decltype(tensor_paths<M, Path>())>;
};

/// FNV-1a of a path's text, with a dot after each tag.
template <class... Tags>
constexpr std::uint64_t text_hash(List<Tags...>) {
  std::uint64_t hash = 14695981039346656037u;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  };
  ((add(Tags::text), add(".")), ...);
  return hash;
}
template <class... Paths>
constexpr std::size_t second_of_a_name(List<Paths...>) {
  const std::array<std::uint64_t, sizeof...(Paths)> hashes{text_hash(Paths{})...};
  for (std::size_t i = 1; i < hashes.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (hashes[i] == hashes[k]) return i;
  return 0;
}

template <class Path>
struct TensorName {
  static constexpr bool seen = true;
  static_assert(
      always_false<Path>,
      "two tensors of this model have the same name, whose tags are in TensorName<List<...>>: put one of them "
      "into Named<tag, ...> with another tag");
};
template <class M>
struct DistinctNames {
  using paths = typename TensorPaths<M, List<>>::type;
  static constexpr bool seen = [] {
    if constexpr (paths::size > 0) {
      constexpr std::size_t second = second_of_a_name(paths{});
      if constexpr (second > 0) return Checked<TensorName<at<paths, second>>>::seen;
    }
    return true;
  }();
};

}  // namespace lamina::detail
