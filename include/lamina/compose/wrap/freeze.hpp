#pragma once
#include <lamina/compose/wrap/frozen.hpp>
#include <lamina/compose/wrap/rewrite.hpp>

namespace lamina {
namespace detail {
template <class Tag>
struct FreezeRule {
  template <class M, class Path>
  static constexpr bool applies = ParametricLayer<M>&& path_has<Path, Tag>;
  template <class M, class Path>
  using apply = Frozen<M>;
};
}  // namespace detail

/// M with everything under a name frozen: FreezeUnder<Qwen3VL_2B, visual> trains the language model alone.
template <class M, class Tag>
struct FreezeUnder : rewrite_t<M, detail::FreezeRule<Tag>> {};

}  // namespace lamina
