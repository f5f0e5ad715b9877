#pragma once
#include <array>
#include <boost/hana/accessors.hpp>
#include <boost/hana/concept/struct.hpp>
#include <boost/hana/define_struct.hpp>
#include <boost/hana/for_each.hpp>
#include <boost/hana/second.hpp>
#include <boost/hana/tuple.hpp>
#include <cstddef>

#include <lamina/core/arena.hpp>
#include <lamina/core/backend.hpp>
#include <lamina/core/gradient/watch.hpp>
#include <lamina/core/list.hpp>
#include <lamina/core/module.hpp>
#include <lamina/core/objective/auxiliary.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/shape.hpp>

/// How a type runs. Every module M, layer or composition, has
///
///     using In, Out                                   Shape<Dyn, width>, checked where modules meet
///     using params, or children                       ParamList<...> of its own; or List<...> of modules
///     static constexpr Traits traits                  .learns and other facts: core/module.hpp
///     template <class Mode> struct Saved              values that forward leaves for backward
///     template <class Mode> static constexpr Saves saves   whether Saved points at .input or .output, which must stay
///     forward (run, const Parameter* p, Saved&, Matrix<const T> x, Matrix<T> y)
///     backward(run, const Parameter* p, Saved&, Matrix<const T> dy, Matrix<T> dx)   dx is overwritten; null: not
///     wanted
///
/// A layer may also declare a loss of its own as `auxiliary` (core/objective/auxiliary.hpp).
///
/// A composition also has `composition`, `rebuild` and `mode_of`, and, if its Saved holds more than Kept members,
/// row_bytes and allocate. Module checks that they exist.
///
/// p points at the first of the module's parameters, in the order of for_each_tensor.
namespace lamina {

/// A member of a layer's Saved: (N, W) fp32 numbers that forward fills. Compositions allocate it and count its bytes,
/// so a Saved that has one lists its members: BOOST_HANA_DEFINE_STRUCT(Saved, (type, name), ...).
template <int W>
struct Kept : Matrix<float> {
  static constexpr std::size_t row_bytes = sizeof(float) * W;
  Kept() = default;
  Kept(const Kept& other) : Matrix<float>(other) {}  // not trivial: that is how a Saved shows that it has one
  Kept& operator=(const Kept& other) = default;
  /// Error if there is no memory, as in a mode that never runs backward.
  float& operator()(int r, int c) const { return allocated()(r, c); }
  float* row(int r) const { return allocated().row(r); }
  void allocate(Arena& arena, int rows) { static_cast<Matrix<float>&>(*this) = arena.matrix<float>(rows, W); }

 private:
  const Matrix<float>& allocated() const {
    if (!data) fail("Kept<", W, ">: nothing is kept in this mode: ask `if (saved.member)` before forward writes it");
    return *this;
  }
};

/// The Saved of a layer that needs its input in backward and nothing else.
template <class Mode>
struct SavedInput {
  Matrix<const typename Mode::T> x;
};
/// The base of a composition that keeps its input alone and runs its parts again in backward.
struct RunsAgain {
  template <class Mode>
  static constexpr Saves saves{.input = true};
  template <class Mode>
  using Saved = SavedInput<Mode>;
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return 0;
  }
  template <class Mode>
  static void allocate(Saved<Mode>&, Arena&, int) {}
};

namespace kernel {
template <class T>
struct PagedCache;  // kernel/attention/paged_attention.hpp
}

/// The tables of a batch that layers share. Built once on the host for each tower; all (rows) unless said otherwise.
template <class T>
struct Context {
  int rows = 0;
  const int* cu_seqlens = nullptr;  ///< (sequences + 1) text: samples; vision: frames
  int sequences = 0;
  int longest = 0;                  ///< rows of the longest sequence
  const int* cu_windows = nullptr;  ///< (windows + 1) vision towers with windowed attention
  int windows = 0;
  int longest_window = 0;
  Matrix<const float> cos, sin;             ///< (rows, head_dim / 2) rotary angles
  const int* position_rows = nullptr;       ///< (rows, 4) rows of a learned position table
  const float* position_weights = nullptr;  ///< (rows, 4) their bilinear weights
  const int* order = nullptr;               ///< (rows) windowed[i] = plain[order[i]]
  const int* merged_order = nullptr;        ///< (rows / merge^2) the same for merged rows
  const int* latent_rows = nullptr;         ///< (sequences * Traits::rows_per_sequence) 0, 1, ... of each sequence
  const int* cu_latents = nullptr;          ///< (sequences + 1) first of these rows of each sequence
  const int* term_slots = nullptr;  ///< (rows) which of Parameter::row_terms a row chooses; null: no row has one
  int layer = 0;                    ///< index in the Stack that runs now
  const kernel::PagedCache<T>* pages = nullptr;  ///< keys and values of the sequences; null while training
  static constexpr int max_taps = 8;
  std::array<Matrix<T>, max_taps> taps{};       ///< side outputs of a Tapped stack; in backward, their gradients
  const std::uint64_t* dropout_seed = nullptr;  ///< changes with every step; null: nothing drops out
  AuxiliarySums auxiliary{};                    ///< of the loss that layers declare
};

/// Said to a norm that adds a residual stream: what it adds to is first summed over ranks (Traits::over_ranks).
struct OverRanks {};

template <Backend B, class Mode_>
struct Run {
  using backend = B;
  using mode = Mode_;
  using T = typename Mode_::T;
  Stream<B> stream;
  Arena* scratch = nullptr;
  Context<T>* context = nullptr;
  GradientListener* watch = nullptr;  ///< hears what backward completes; null: nobody does

  template <class Other>
  Run<B, Other> as() const {
    return {stream, scratch, context, watch};
  }
  /// For a composition, in backward: nothing is added any more to the gradients of `count` parameters from p on.
  void gradients_final(const Parameter* p, int count) const {
    if (watch) watch->gradients_final(p, count);
  }
};

namespace detail {
/// Calls f on each Kept member of a layer's Saved.
template <class Saved, class F>
constexpr void for_each_kept([[maybe_unused]] Saved& saved, [[maybe_unused]] F f) {
  if constexpr (boost::hana::Struct<Saved>::value)
    boost::hana::for_each(boost::hana::accessors<Saved>(), [&](auto accessor) {
      auto& member = boost::hana::second(accessor)(saved);
      if constexpr (requires { member.row_bytes; }) f(member);
    });
  else
    static_assert(std::is_trivially_copyable_v<Saved>,
                  "Saved: it has Kept members, so list all its members with BOOST_HANA_DEFINE_STRUCT");
}
}  // namespace detail

/// Bytes per input row that M saves in a mode; a composition sums its parts, a layer its Kept members.
template <class M, class Mode>
constexpr std::size_t saved_row_bytes() {
  if constexpr (!keeps<M, Mode>) {
    return 0;
  } else if constexpr (requires { M::template row_bytes<Mode>(); }) {
    return M::template row_bytes<Mode>();
  } else {
    std::size_t bytes = 0;
    typename M::template Saved<Mode> saved{};
    detail::for_each_kept(saved, [&](const auto& kept) { bytes += kept.row_bytes; });
    return bytes;
  }
}

/// Takes from the arena all that M saves for `rows` input rows.
template <class M, class Mode>
void allocate_saved(typename M::template Saved<Mode>& saved, Arena& arena, int rows) {
  if constexpr (!keeps<M, Mode>)
    return;
  else if constexpr (requires { M::template allocate<Mode>(saved, arena, rows); })
    M::template allocate<Mode>(saved, arena, rows);
  else
    detail::for_each_kept(saved, [&](auto& kept) { kept.allocate(arena, rows); });
}

}  // namespace lamina
