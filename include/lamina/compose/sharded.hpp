#pragma once
#include <algorithm>
#include <utility>

#include <lamina/compose/fork.hpp>
#include <lamina/compose/vision_language.hpp>
#include <lamina/compose/wrap/named.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/kernel/ranks/across_ranks.hpp>
#include <lamina/layer/activation.hpp>
#include <lamina/layer/attention_core.hpp>
#include <lamina/layer/linear.hpp>

namespace lamina {

/// A linear M that has one of several equal parts of a file's matrix: of its rows, with as much of the bias, or of its
/// columns. The rank that reads the file chooses the part (checkpoint/load_weights.hpp); Copies neighbouring ranks have
/// the same one.
template <Module M, int Rows, int Columns, int Copies = 1>
struct Shard : Wrapper<M> {
  using composition = Shard;
  template <Module C>
  using rebuild = Shard<C, Rows, Columns, Copies>;
  static constexpr Traits traits = [] {
    Traits t = detail::transparent(Wrapper<M>::traits);
    t.row_shards = Rows, t.column_shards = Columns, t.shard_copies = Copies;
    return t;
  }();
};

/// The sum of what M computes on each of N ranks (Stream::ranks).
///
/// numerics    ranks' results are rounded to T, their sum once more
/// backward    none: it is for inference
template <Module M, int N>
struct Summed : Wrapper<M> {
  using composition = Summed;
  template <Module C>
  using rebuild = Summed<C, N>;
  static constexpr int ranks = N;
  static constexpr Traits traits = [] {
    Traits t = Wrapper<M>::traits;
    t.strided_y = false, t.adds = t.over_ranks = true;
    return t;
  }();

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    static_assert(!R::mode::train, "Summed: its module is divided among ranks, and only inference knows how");
    M::forward(run, p, saved, x, y);
    kernel::across_ranks<typename R::backend>::sum(run.stream, kernel::RankSum<T>{.x = y, .y = {}});
  }
  template <class R, class S, class X, class Y>
  static void forward_add(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    Arena::Scope scope(*run.scratch);
    const Matrix<T> part = run.scratch->template matrix<T>(y.rows, y.cols);
    M::forward(run, p, saved, x, part);
    kernel::across_ranks<typename R::backend>::sum(run.stream, kernel::RankSum<T>{.x = part, .y = y});
  }
  /// Without the sum.
  template <class R, class S, class X, class Y>
  static void forward_part(R run, const Parameter* p, S& saved, X x, Y y) {
    M::forward(run, p, saved, x, y);
  }
  static void backward(auto&&...) {}
};

/// How the layer between linear layers is divided among N ranks, each of which computes some of its independent parts:
/// heads, or elements. Specialise it for a layer of your own.
template <class Core>
struct ShardedCore {
  static constexpr bool known = false;  ///< a branch with this layer is whole on every rank
};
/// A rank has H / N query heads and the key/value heads that these share. If there are more ranks than key/value heads,
/// several ranks have the same one, as in vLLM.
template <int H, int K, int Dh, class Mask, class Rope, class... Norms>
struct ShardedCore<AttentionCore<Heads<H, K, Dh>, Mask, Rope, Norms...>> {
  static constexpr bool known = true;
  static constexpr bool divides(int ranks) { return H % ranks == 0 && (K % ranks == 0 || ranks % K == 0); }
  /// Different parts of input I (q, k, v) among N ranks.
  template <int N, std::size_t I>
  static constexpr int input_parts = I == 0 ? N : std::min(N, K);
  template <int N>
  using over = AttentionCore<Heads<H / N, K / input_parts<N, 1>, Dh>, Mask, Rope, Norms...>;
};
template <int F>
struct ShardedCore<SiluGate<F>> {
  static constexpr bool known = true;
  static constexpr bool divides(int ranks) { return F % ranks == 0; }
  template <int N, std::size_t>
  static constexpr int input_parts = N;
  template <int N>
  using over = SiluGate<F / N>;
};

namespace detail {

/// Linear layers with one of Parts parts of their outputs, or of their inputs and then summed.
template <int Parts, int Copies = 1>
struct ShardOutputs {
  template <class M, class Path>
  static constexpr bool applies = is_linear<M>;
  template <class M>
  struct Of;
  template <int In, int Out, class B>
  struct Of<Linear<In, Out, B>> {
    static_assert(Out % Parts == 0, "Sharded<M, N>: a linear layer's outputs do not divide by N");
    using type = Shard<Linear<In, Out / Parts, B>, Parts, 1, Copies>;
  };
  template <class M, class Path>
  using apply = typename Of<M>::type;
};
template <int N>
struct ShardInputs {
  template <class M, class Path>
  static constexpr bool applies = is_linear<M>;
  template <class M>
  struct Of;
  template <int In, int Out, class B>
  struct Of<Linear<In, Out, B>> {
    static_assert(In % N == 0, "Sharded<M, N>: a linear layer's inputs do not divide by N");
    static_assert(std::is_same_v<B, NoBias>, "Sharded<M, N>: every rank would add the bias of a sum");
    using type = Summed<Shard<Linear<In / N, Out>, 1, N>, N>;
  };
  template <class M, class Path>
  using apply = typename Of<M>::type;
};

/// Projections, what is between them, and the projection back: attention, a gated MLP.
template <class M>
struct ShardedBranch {
  static constexpr bool known = false;
};
template <class... In, class Core, class Out>
struct ShardedBranch<Chain<Fork<In...>, Core, Out>> {
  static constexpr bool known = ShardedCore<Core>::known;
  static constexpr bool divides(int ranks) { return ShardedCore<Core>::divides(ranks); }
  template <int N, class Indices>
  struct Inputs;
  template <int N, std::size_t... I>
  struct Inputs<N, std::index_sequence<I...>> {
    template <std::size_t J>
    static constexpr int parts = ShardedCore<Core>::template input_parts<N, J>;
    using type = Fork<rewrite_t<In, ShardOutputs<parts<I>, N / parts<I>>>...>;
  };
  template <int N>
  using over = Chain<typename Inputs<N, std::index_sequence_for<In...>>::type,
                     typename ShardedCore<Core>::template over<N>, rewrite_t<Out, ShardInputs<N>>>;
};

template <class M>
inline constexpr bool is_own_head = false;
template <class Tag, class L>
inline constexpr bool is_own_head<OwnHead<Tag, L>> = true;

/// The branches of the language model, and a head of its own.
template <int N, class LanguageTag>
struct ShardModel {
  template <class M, class Path>
  static constexpr bool is_branch = path_has<Path, LanguageTag>&& ShardedBranch<without_name_t<M>>::known;
  template <class M, class Path>
  static constexpr bool applies = is_branch<M, Path> || is_own_head<without_name_t<M>>;
  template <class M, class Path>
  static auto rewritten() {
    if constexpr (is_branch<M, Path>)
      return std::type_identity<typename ShardedBranch<without_name_t<M>>::template over<N>>{};
    else
      return std::type_identity<
          typename without_name_t<M>::template rebuild<rewrite_t<typename M::module, ShardOutputs<N>>>>{};
  }
  template <class M, class Path>
  using apply = typename decltype(rewritten<M, Path>())::type;
};

/// Branches of M that a number of ranks divides, and those that it does not.
struct BranchCounts {
  int divided = 0, others = 0;
  constexpr BranchCounts operator+(const BranchCounts& more) const {
    return {divided + more.divided, others + more.others};
  }
};
template <class M>
constexpr BranchCounts branches_divided(int ranks);
template <class... C>
constexpr BranchCounts branches_divided_of(List<C...>, int ranks) {
  return (branches_divided<C>(ranks) + ... + BranchCounts{});
}
template <class M>
constexpr BranchCounts branches_divided(int ranks) {
  if constexpr (!HasChildren<M>)
    return {};
  else if constexpr (!ShardedBranch<without_name_t<M>>::known)
    return branches_divided_of(typename M::children{}, ranks);
  else
    return ShardedBranch<without_name_t<M>>::divides(ranks) ? BranchCounts{1, 0} : BranchCounts{0, 1};
}

template <class M>
struct IsSummed {
  static constexpr bool value = requires { M::ranks; };
};
template <class Found>
constexpr int ranks_in() {
  if constexpr (std::is_void_v<Found>)
    return 1;
  else
    return Found::ranks;
}

}  // namespace detail

/// Whether M can be divided among so many ranks: they divide its query heads, the MLP's width and the vocabulary, and
/// its key/value heads or are a multiple of those.
template <class M>
constexpr bool divides_among(int ranks) {
  const auto [divided, others] = detail::branches_divided<typename M::Language>(ranks);
  return divided > 0 && others == 0 && M::vocab_size % ranks == 0;
}

namespace detail {
template <class M, int N>
struct ShardedModel {
  using type = M;  // the error has been reported
};
template <class M, int N>
requires(N > 0 && divides_among<M>(N)) struct ShardedModel<M, N> {
  using type = rewrite_t<M, ShardModel<N, typename M::language_tag>>;
};
}  // namespace detail

/// A vision-language model as one of N ranks computes it: its share of the decoder's heads and of the MLPs' width, with
/// a sum over ranks after each attention and MLP, and its share of the logits, which the engine gathers. Vision tower,
/// projector, embedding and norms are whole on every rank. Names are M's, and files stay as they are: each rank reads
/// its part of the matrices.
///
/// order       after stream_for, before fused_for: struct Model : fused_for<Cuda, Sharded<Qwen3VL_8B, 2>> {};
/// source      Shoeybi et al. 2019, arXiv:1909.08053, section 3
template <class M, int N>
struct Sharded : detail::ShardedModel<M, N>::type {
  static_assert(N > 1, "Sharded<M, N>: N is a number of ranks, at least 2");
  static_assert(
      N < 1 || divides_among<M>(N),
      "Sharded<M, N>: N must divide the query heads, the MLP's intermediate_size and vocab_size, and divide the "
      "key/value heads or be a multiple of them");
};

/// The ranks that M is divided among; 1: it is whole.
template <class M>
inline constexpr int rank_count = detail::ranks_in<find_t<typename M::Language, detail::IsSummed>>();

}  // namespace lamina
