#pragma once
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/fuse/folded.hpp>
#include <lamina/fuse/gated.hpp>
#include <lamina/fuse/joined_residuals.hpp>
#include <lamina/fuse/joint.hpp>
#include <lamina/fuse/scaled_stream.hpp>
#include <lamina/kernel/matmul/add_adapters.hpp>

/// Fusion: neighbouring types become one type that does their work in fewer passes over memory. It never changes a
/// tensor's name, shape or place in order, so every checkpoint loads the same, nor how forward and backward are called.
///
/// A rule is a type, in any header; here, one that gives a user's norm to a user's fused norm and rotation:
///
///     struct FuseNormRope {
///       template <class M, class Path> static constexpr bool applies = std::is_same_v<M, Chain<MyNorm, MyRope>>;
///       template <class M, class Path> using apply = MyNormRope;
///     };
///     using Rules = append_t<FusionRules<Cpu>::type, FuseNormRope>;
///     struct Model : fused_for<Cpu, MyModel, Rules> {};
///
/// Path is the List of tags above M, for a rule that means one place only. Rules run one after another over the whole
/// type, each from the layers up (or, if it says outermost_first, from the model down), so that a later rule sees
/// what an earlier one made.
namespace lamina {

/// The rules of a backend. A backend with kernels of its own specialises it.
template <Backend B>
struct FusionRules {
  using type =
      std::conditional_t<kernel::folds_adapters<B>, List<JoinLinears, JoinResiduals, RecomputeGate, FoldAdapters>,
                         List<JoinLinears, JoinResiduals, RecomputeGate>>;
};

namespace detail {
template <class M, class Rule>
constexpr auto apply_rule() {
  if constexpr (requires { Rule::outermost_first; })
    return std::type_identity<rewrite_t<M, Rule>>{};
  else
    return std::type_identity<rewrite_bottom_up_t<M, Rule>>{};
}
template <class M, class Rules>
struct Fuse;
template <class M>
struct Fuse<M, List<>> {
  using type = M;
};
template <class M, class First, class... Rest>
struct Fuse<M, List<First, Rest...>> : Fuse<typename decltype(apply_rule<M, First>())::type, List<Rest...>> {};
}  // namespace detail

/// M as a backend runs it best: struct Model : fused_for<Cpu, LoRA<Qwen3VL_2B, ...>> {};
template <Backend B, class M, class Rules = typename FusionRules<B>::type>
struct fused_for : detail::Fuse<M, Rules>::type {
  using unfused = M;
};

}  // namespace lamina
