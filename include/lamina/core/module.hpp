#pragma once
#include <concepts>
#include <cstddef>
#include <type_traits>

#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/shape.hpp>

/// What a module says about itself. core/run.hpp has what it does.
namespace lamina {

/// Facts about a module that those around it ask for. Every module has `static constexpr Traits traits{...}`: a
/// misspelt one does not compile, and compose/wrap/wrapper.hpp forwards all of them.
struct Traits {
  bool learns = false;  ///< a parameter of the module, or below it, has a gradient

  // Of the values that it reads and writes.
  int row_divisor = 1;        ///< input rows that it joins into one output row: a merger's square
  int rows_per_sequence = 0;  ///< if not 0: rows of its own, so many for each sequence of the context
  /// Spare columns that it needs after its input in forward, and after its output's gradient in backward, as scratch
  /// (Matrix::tail). The allocator of the value reserves them.
  int input_tail = 0, gradient_tail = 0;
  bool strided_y = false;   ///< forward can write rows that are further apart than they are long, as rows with a tail
  bool strided_dx = false;  ///< the same of backward and dx

  // What it offers to fusion.
  bool sums = false;  ///< a norm with forward_sum and backward_sum, which add a residual stream in the same kernel
  bool takes_row_terms = false;  ///< a linear layer whose rows may have Parameter::row_terms
  bool table = false;            ///< its matrix is a table, read by rows that the data names: torch's nn.Embedding
  bool adds = false;             ///< a module with forward_add, which adds its output to y
  bool over_ranks = false;       ///< its output is a sum over ranks, and forward_part leaves that to who reads it
  /// Its input is all that backward needs of forward: save_input(saved, x) sets it again.
  bool saves_input_alone = false;
  bool transparent = false;  ///< a wrapper that computes what its module computes, but for matrix_exponent

  // Of the tensors below it; a wrapper around it does not repeat them.
  bool freezes = false;                          ///< none of them learns, added ones excepted
  bool joins = false;                            ///< its children's tensors are neighbours, each kind in one run
  bool folds = false;                            ///< its children share one matrix with their branches
  bool mixture = false;                          ///< a router and the experts that it chooses (compose/routed.hpp)
  int matrix_exponent = 0, vector_exponent = 0;  ///< memory holds their values times 2^exponent
  /// Memory holds one of so many equal parts of each: of a matrix's rows and a vector's elements, or of its columns. So
  /// many neighbouring ranks have the same part.
  int row_shards = 1, column_shards = 1, shard_copies = 1;

  constexpr bool operator==(const Traits&) const = default;
};

/// Whether M adds its output to y if asked to. A layer that names itself as `adder` says so for itself alone: one that
/// is derived from it may have a forward of its own.
template <class M>
inline constexpr bool adds = [] {
  if constexpr (requires { typename M::adder; })
    return M::traits.adds && std::is_same_v<typename M::adder, M>;
  else
    return M::traits.adds;
}();

/// The traits of a module as a wrapper around it has them.
template <class M>
inline constexpr Traits forwarded = [] {
  Traits traits = M::traits;
  traits.transparent = traits.takes_row_terms = traits.table = traits.freezes = traits.joins = traits.folds =
      traits.mixture = false;
  traits.matrix_exponent = traits.vector_exponent = 0;
  traits.row_shards = traits.column_shards = traits.shard_copies = 1;
  traits.adds = adds<M>;
  return traits;
}();

/// The values around a module that must stay until its backward.
struct Saves {
  bool input = false, output = false;
};

/// What forward must leave behind, as a type: whether parameters learn, and whether the input needs a gradient.
template <Real T_, bool Train, bool Dx>
struct Mode {
  using T = T_;
  static constexpr bool train = Train, dx = Dx;
  using inference = Mode<T, false, false>;
  using frozen = Mode<T, false, Dx>;
  template <bool Wanted>
  using with_dx = Mode<T, Train, Wanted>;
};

template <class M>
concept HasChildren = requires {
  typename M::children;
};
/// How often a composition has its child of a number: a stack repeats its layer, one of several kinds (compose/
/// layers.hpp) each of them.
template <class M>
constexpr int times_of([[maybe_unused]] int child) {
  if constexpr (requires { M::kind_of(0); })
    return M::count(child);
  else if constexpr (requires { M::repeats; })
    return M::repeats;
  else
    return 1;
}
/// A layer that owns parameters.
template <class M>
concept ParametricLayer = (!HasChildren<M>)&&requires {
  requires M::params::size >
  0;
};

namespace detail {
using ProbeMode = Mode<float, true, true>;
template <class M>
concept Counts = requires {
  M::template row_bytes<ProbeMode>();
};
template <class M>
concept Allocates = requires(typename M::template Saved<ProbeMode>& saved, Arena& arena) {
  M::template allocate<ProbeMode>(saved, arena, 1);
};
}  // namespace detail

/// Something that runs: a layer or a composition. Checked as declared: nothing is evaluated for it. References go,
/// because nvcc hands decltype((name)) on to the host compiler in place of decltype(name).
template <class M>
concept Module = requires {
  typename M::In;
  typename M::Out;
  requires std::same_as<std::remove_cvref_t<decltype(M::traits)>, Traits>;
  requires std::same_as<std::remove_cvref_t<decltype(M::template saves<detail::ProbeMode>)>, Saves>;
  typename M::template Saved<detail::ProbeMode>;
}
&&(requires { typename M::params; } || (HasChildren<M> &&
                                        requires {
                                          typename M::composition;
                                          typename M::template mode_of<0, detail::ProbeMode>;
                                        })) &&
    (detail::Counts<M> == detail::Allocates<M>);

/// Whether anything in M learns.
template <class M>
inline constexpr bool learns = M::traits.learns;

/// Whether backward passes through M at all in this mode: if not, M runs as in inference and saves nothing.
template <class M, class Mode>
inline constexpr bool keeps = Mode::dx || (Mode::train && learns<M>);

/// What must stay until M's backward in this mode.
template <class M, class Mode>
inline constexpr Saves stays = keeps<M, Mode> ? M::template saves<Mode> : Saves{};

/// The mode in which a part of a composition runs, given whether something before it learns.
template <class M, class Mode, bool LearnsBefore>
using part_mode =
    std::conditional_t<keeps<M, typename Mode::template with_dx<Mode::dx || (Mode::train && LearnsBefore)>>,
                       typename Mode::template with_dx<Mode::dx || (Mode::train && LearnsBefore)>,
                       typename Mode::inference>;

/// The tail of the value between two modules, and of that value's gradient.
template <class Before, class After>
inline constexpr int tail_between = Before::traits.strided_y ? After::traits.input_tail : 0;
template <class Before, class After>
inline constexpr int gradient_tail_between = After::traits.strided_dx ? Before::traits.gradient_tail : 0;

/// Output rows of M, from its input rows and the sequences that they are in.
template <class M>
constexpr int out_rows(int rows, int sequences) {
  return M::traits.rows_per_sequence > 0 ? M::traits.rows_per_sequence * sequences : rows / M::traits.row_divisor;
}

}  // namespace lamina
