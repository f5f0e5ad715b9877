#pragma once
#include <lamina/compose/wrap/named.hpp>

namespace lamina {
namespace detail {
template <class Mode>
using FrozenMode = typename Mode::frozen;

constexpr Traits frozen(Traits traits) {
  traits = transparent(traits);
  traits.learns = false, traits.freezes = true;
  return traits;
}
}  // namespace detail

/// M without gradients of its own parameters. Backward still passes through if something below learns; if nothing does,
/// M runs as in inference and saves nothing. The type says it, so it costs nothing.
template <class M>
struct Frozen : Wrapper<M, detail::FrozenMode> {
  using Base = Wrapper<M, detail::FrozenMode>;
  using composition = Frozen;
  template <class C>
  using rebuild = Frozen<C>;
  static constexpr Traits traits = detail::frozen(Base::traits);

  template <class R, class S, class DY, class DX, class... Hook>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx, Hook... hook) {
    if (dx) Base::backward(run, p, saved, dy, dx, hook...);
  }
};

}  // namespace lamina
