#pragma once
#include <lamina/compose/wrap/wrapper.hpp>

namespace lamina {
namespace detail {
constexpr Traits transparent(Traits traits) {
  traits.transparent = true;
  return traits;
}
}  // namespace detail

/// M under a component of the checkpoint's names: Named<q_proj, Linear<...>> owns "<path>.q_proj.weight".
template <class Tag, Module M>
struct Named : Wrapper<M> {
  using composition = Named;
  using tag = Tag;
  template <Module C>
  using rebuild = Named<Tag, C>;
  static constexpr Traits traits = detail::transparent(Wrapper<M>::traits);

  template <class R, class... Args>
  static void forward(R run, const Parameter* p, Args&&... args) {
    const InModule in(run.stream, Tag::text);
    M::forward(run, p, args...);
  }
  template <class R, class... Args>
  static void forward_add(R run, const Parameter* p, Args&&... args) {
    const InModule in(run.stream, Tag::text);
    M::forward_add(run, p, args...);
  }
  template <class R, class... Args>
  static void forward_part(R run, const Parameter* p, Args&&... args) {
    const InModule in(run.stream, Tag::text);
    M::forward_part(run, p, args...);
  }
  template <class R, class... Args>
  static void backward(R run, const Parameter* p, Args&&... args) {
    const InModule in(run.stream, Tag::text);
    M::backward(run, p, args...);
  }
  template <class R, class... Args>
  static void forward_sum(R run, const Parameter* p, Args&&... args) {
    const InModule in(run.stream, Tag::text);
    M::forward_sum(run, p, args...);
  }
  template <class R, class... Args>
  static void backward_sum(R run, const Parameter* p, Args&&... args) {
    const InModule in(run.stream, Tag::text);
    M::backward_sum(run, p, args...);
  }
};

}  // namespace lamina
