#pragma once
#include <lamina/compose/mlp.hpp>
#include <lamina/compose/residual.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/compose/wrap/scaled.hpp>
#include <lamina/layer/embedding.hpp>
#include <lamina/layer/layer_norm.hpp>
#include <lamina/layer/learned_position.hpp>
#include <lamina/layer/patch_embed.hpp>
#include <lamina/layer/rms_norm.hpp>

namespace lamina {

/// The exponent at which activations of type T hold the residual stream.
///
/// fp16 ends at 65504. Weights trained in bf16 may make a few coordinates of a few tokens larger: they become infinite,
/// and the answer is "!!!!" (token 0). At 2^-8 the stream may reach 1.6e7. fp16 keeps its 11 bits above 2^-14,
/// so what is 2^-6 or more of the stream loses nothing, and smaller values err by at most 2^-17: the bf16 that would be
/// the other way out errs by as much at 2^-8 already. source      Sun et al. 2024, arXiv:2402.17762: "massive
/// activations" and their places
template <Real T>
inline constexpr int stream_exponent = 0;
template <>
inline constexpr int stream_exponent<f16> = -8;

namespace detail {

/// M whose addition to the stream is at 2^Matrices of its value, its biases at 2^Vectors.
template <class M, int Matrices, int Vectors = Matrices>
struct BranchEnd {
  static_assert(always_false<M>, "ScaledStream: a residual branch must end in a linear layer, Linear<In, Out>");
};
template <class M, int Matrices, int Vectors = Matrices>
using branch_end_t = typename BranchEnd<M, Matrices, Vectors>::type;
template <class M, int Matrices, int Vectors>
requires(!std::is_same_v<M, typename M::composition>)  // a user's struct is its base
    struct BranchEnd<M, Matrices, Vectors> : BranchEnd<typename M::composition, Matrices, Vectors> {
};
template <int In, int Out, class WithBias, int Matrices, int Vectors>
struct BranchEnd<Linear<In, Out, WithBias>, Matrices, Vectors> {
  using type = Scaled<Linear<In, Out, WithBias>, Matrices, Vectors>;
};
template <class M, int Matrices, int Vectors>
requires(M::traits.transparent&& std::is_same_v<M, typename M::composition>) struct BranchEnd<M, Matrices, Vectors> {
  using type = typename M::template rebuild<branch_end_t<typename M::module, Matrices, Vectors>>;
};
template <class... L, int Matrices, int Vectors>
struct BranchEnd<Chain<L...>, Matrices, Vectors> {
  template <class Indices>
  struct Parts;
  template <std::size_t... I>
  struct Parts<std::index_sequence<I...>> {
    using type = Chain<at<List<L...>, I>..., branch_end_t<at<List<L...>, sizeof...(I)>, Matrices, Vectors>>;
  };
  using type = typename Parts<std::make_index_sequence<sizeof...(L) - 1>>::type;
};
/// SwiGLU is linear in up, and its product outgrows fp16 before the stream does: so up is scaled, and down's bias.
template <class Gate, class Up, int F, class Down, int Exponent>
struct BranchEnd<Chain<Fork<Gate, Up>, SiluGate<F>, Down>, Exponent, Exponent> {
  using type = Chain<Fork<Gate, branch_end_t<Up, Exponent>>, SiluGate<F>, branch_end_t<Down, 0, Exponent>>;
};

template <class M>
inline constexpr bool joins_rows = false;
template <int n, int D>
inline constexpr bool joins_rows<JoinRows<n, D>> = true;

template <int Exponent>
struct ScaleStream;

/// What becomes of a module that reads or writes the stream.
template <class M, int Exponent>
struct InStream {
  static constexpr bool applies = false;
};
template <class M>
struct Becomes {
  static constexpr bool applies = true;
  using type = M;
};
template <class Eps, int Exponent>
using scaled_eps = std::ratio_divide<Eps, std::ratio<std::intmax_t{1} << -2 * Exponent>>;
template <int D, class Eps, int Exponent>
struct InStream<RMSNorm<D, Eps>, Exponent> : Becomes<RMSNorm<D, scaled_eps<Eps, Exponent>>> {};
template <int D, class Eps, int Exponent>
struct InStream<LayerNorm<D, Eps>, Exponent> : Becomes<LayerNorm<D, scaled_eps<Eps, Exponent>>> {};
template <int V, int D, int Exponent>
struct InStream<Embedding<V, D>, Exponent> : Becomes<Scaled<Embedding<V, D>, Exponent>> {};
template <int C, int F, int P, int D, class B, int Exponent>
struct InStream<PatchEmbed<C, F, P, D, B>, Exponent> : Becomes<Scaled<PatchEmbed<C, F, P, D, B>, Exponent>> {};
template <int Rows, int D, int Exponent>
struct InStream<LearnedPosition<Rows, D>, Exponent> : Becomes<Scaled<LearnedPosition<Rows, D>, Exponent>> {};
template <class Norm, class Body, int Exponent>
struct InStream<Residual<Norm, Body>, Exponent>
    : Becomes<Residual<rewrite_t<Norm, ScaleStream<Exponent>>, branch_end_t<Body, Exponent>>> {};
/// A merger: from the vision tower's stream to the decoder's.
template <class... L, int Exponent>
requires(joins_rows<L> || ...) struct InStream<Chain<L...>, Exponent>
    : Becomes<branch_end_t<Chain<rewrite_t<L, ScaleStream<Exponent>>...>, Exponent>> {
};

template <int Exponent>
struct ScaleStream {
  template <class M, class Path>
  static constexpr bool applies = InStream<without_name_t<M>, Exponent>::applies;
  template <class M, class Path>
  using apply = typename InStream<without_name_t<M>, Exponent>::type;
};

}  // namespace detail

/// M with its residual streams, those of the vision tower and of the decoder, at 2^Exponent of their values, so that
/// they fit a narrow type. A norm does not see the factor (its eps is scaled with it), so no branch and no logit does:
/// in fp32 the results are the same bit for bit.
///
///     x' = c x,   x'_next = x' + c Body(Norm(x)),   Norm_{c^2 eps}(x') = Norm_eps(x),   c = 2^Exponent
///
/// What writes to the stream has c in its weights, once, when they are loaded: embeddings, positions, and the last
/// linear layer of each branch and merger; of SwiGLU the up-projection, so that silu(gate) up is held at c as well.
/// Nothing more runs and nothing more is stored than for M. All else (q, k, v, gate, a GELU's input) is a row of unit
/// root mean square times a matrix and does not grow with the stream.
///
/// weights     lie 2^-Exponent nearer to fp16's least values: below 2^-6 an element errs by up to 2^-17
/// order       before fused_for: struct Model : fused_for<Cuda, ScaledStream<Qwen3VL_2B, -8>> {};
/// a wider stream (fp32 rows between fp16 branches) would hold more, for twice the traffic of every norm and addition
/// and a second element type in every composition
template <class M, int Exponent>
struct ScaledStream : rewrite_t<M, detail::ScaleStream<Exponent>> {};

namespace detail {
template <class M, int Exponent>
struct StreamAt {
  using type = ScaledStream<M, Exponent>;
};
template <class M>
struct StreamAt<M, 0> {
  using type = M;
};
}  // namespace detail

/// M as activations of type T hold it.
template <Real T, class M>
using stream_for = typename detail::StreamAt<M, stream_exponent<T>>::type;

}  // namespace lamina
