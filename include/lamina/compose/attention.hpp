#pragma once
#include <lamina/compose/fork.hpp>
#include <lamina/layer/attention_core.hpp>
#include <lamina/layer/linear.hpp>

namespace lamina {

/// The parts that Attention knows by name.
namespace name {
// clang-format off
LAMINA_NAME(q_proj); LAMINA_NAME(k_proj); LAMINA_NAME(v_proj); LAMINA_NAME(o_proj);
LAMINA_NAME(q_norm); LAMINA_NAME(k_norm);
LAMINA_NAME(qkv); LAMINA_NAME(proj);
// clang-format on
}  // namespace name

namespace detail {

/// The part named Tag among Named<> parts, as a list of none or one.
template <class Tag, class... Parts>
struct Pick {
  using type = List<>;
};
template <class Tag, class First, class... Rest>
struct Pick<Tag, First, Rest...> : std::conditional_t<std::is_same_v<typename First::tag, Tag>,
                                                      std::type_identity<List<First>>, Pick<Tag, Rest...>> {};
template <class Tag, class... Parts>
using pick = typename Pick<Tag, Parts...>::type;

template <class... Lists>
struct Join;
template <class... A>
struct Join<List<A...>> {
  using type = List<A...>;
};
template <class... A, class... B, class... Rest>
struct Join<List<A...>, List<B...>, Rest...> : Join<List<A..., B...>, Rest...> {};

template <class H, class M, class R, class Norms>
struct CoreOf;
template <class H, class M, class R, class... N>
struct CoreOf<H, M, R, List<N...>> {
  using type = AttentionCore<H, M, R, N...>;
};

template <class H, class M, class R, class... Parts>
struct AttentionChain {
  using norms = typename Join<pick<name::q_norm, Parts...>, pick<name::k_norm, Parts...>>::type;
  using core = typename CoreOf<H, M, R, norms>::type;
  template <class Tag>
  using part = at<pick<Tag, Parts...>, 0>;
  template <class... Tags>
  static constexpr bool has = ((pick<Tags, Parts...>::size == 1) && ...);
  static constexpr bool one_projection = has<name::qkv, name::proj>;
  static constexpr bool three_projections = has<name::q_proj, name::k_proj, name::v_proj, name::o_proj>;
  static_assert(one_projection || three_projections,
                "Attention: wants q_proj, k_proj, v_proj and o_proj, or qkv and proj, each as Named<tag, layer>");

  static auto chain() {
    if constexpr (one_projection) {
      return std::type_identity<Chain<part<name::qkv>, core, part<name::proj>>>{};
    } else if constexpr (!three_projections) {
      return std::type_identity<Fork<Parts...>>{};  // the error has been reported
    } else {
      return std::type_identity<
          Chain<Fork<part<name::q_proj>, part<name::k_proj>, part<name::v_proj>>, core, part<name::o_proj>>>{};
    }
  }
  using type = typename decltype(chain())::type;
};

}  // namespace detail

/// Multi-head attention with its projections, in any order: q_proj, k_proj, v_proj and o_proj (and q_norm, k_norm
/// if the model has them), or qkv and proj. It is a Chain: projections, AttentionCore, output projection.
template <class Heads_, class Mask, class Rope, class... Parts>
struct Attention : detail::AttentionChain<Heads_, Mask, Rope, Parts...>::type {};

}  // namespace lamina
