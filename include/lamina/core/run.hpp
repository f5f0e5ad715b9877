#pragma once
#include <array>
#include <cstddef>

#include <lamina/core/arena.hpp>
#include <lamina/core/backend.hpp>
#include <lamina/core/fields.hpp>
#include <lamina/core/list.hpp>
#include <lamina/core/param.hpp>
#include <lamina/core/shape.hpp>

/// How a type runs. Every module M, layer or composition, has
///
///     using In, Out                                   Shape<Dyn, width>, checked where modules meet
///     template <class Mode> struct Saved              the values that forward saves for backward
///     template <class Mode> saves_input               whether Saved points at the input, which then must stay
///     template <class Mode> saves_output              the same for the output; absent: no
///     forward (run, const Parameter* p, Saved&, Matrix<const T> x, Matrix<T> y)
///     backward(run, const Parameter* p, Saved&, Matrix<const T> dy, Matrix<T> dx)   dx is overwritten; null: not
///     wanted
///
/// p points at the first of the module's parameters, in the order of for_each_tensor.
namespace lamina {

/// Something that runs: a layer or a composition. The other members are asked for where they are used.
template <class M>
concept Module = requires {
  typename M::In;
  typename M::Out;
  { M::learns } -> std::convertible_to<bool>;
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

/// Whether anything below M learns; Frozen and the adapters specialise it through M::learns.
template <class M>
inline constexpr bool learns = M::learns;

/// Whether backward passes through M at all in this mode: if not, M runs as in inference and saves nothing.
template <class M, class Mode>
inline constexpr bool keeps = Mode::dx || (Mode::train && learns<M>);

/// The mode in which a part of a composition runs, given whether something before it learns.
template <class M, class Mode, bool LearnsBefore>
using part_mode =
    std::conditional_t<keeps<M, typename Mode::template with_dx<Mode::dx || (Mode::train && LearnsBefore)>>,
                       typename Mode::template with_dx<Mode::dx || (Mode::train && LearnsBefore)>,
                       typename Mode::inference>;

/// A member of a layer's Saved: (N, W) elements that forward fills. Compositions allocate it and count its bytes.
template <class T, int W>
struct Kept : Matrix<T> {
  static constexpr std::size_t row_bytes = sizeof(T) * W;
  void allocate(Arena& arena, int rows) { static_cast<Matrix<T>&>(*this) = arena.matrix<T>(rows, W); }
};

/// Keys and values of one sequence, one slot per causal attention of the model: (capacity, width) each.
template <class T>
struct KVCache {
  struct Slot {
    Matrix<T> k, v;
  };
  Slot* slots = nullptr;
};

namespace kernel {
template <class T>
struct PagedCache;  // kernel/paged_attention.hpp
}

/// The tables of a batch that layers share. Built once on the host for each tower; all (rows) unless said otherwise.
template <class T>
struct Context {
  int rows = 0;
  const int* cu_seqlens = nullptr;  ///< (sequences + 1) text: samples; vision: frames
  int sequences = 0;
  int longest = 0;  ///< rows of the longest sequence
  /// (sequences + 1) the same, for keys: if a cache is read, how many rows of it are in use once this run's are
  /// there.
  const int* cu_keys = nullptr;
  const int* cu_windows = nullptr;  ///< (windows + 1) vision towers with windowed attention
  int windows = 0;
  int longest_window = 0;
  Matrix<const float> cos, sin;                  ///< (rows, head_dim / 2) rotary angles
  const int* position_rows = nullptr;            ///< (rows, 4) rows of a learned position table
  const float* position_weights = nullptr;       ///< (rows, 4) their bilinear weights
  const int* order = nullptr;                    ///< (rows) windowed[i] = plain[order[i]]
  const int* merged_order = nullptr;             ///< (rows / merge^2) the same for merged rows
  int layer = 0;                                 ///< index in the Stack that runs now
  int cache_slot = 0;                            ///< next slot of the cache
  KVCache<T>* cache = nullptr;                   ///< null while training
  const kernel::PagedCache<T>* pages = nullptr;  ///< many sequences with a cache in pages
  static constexpr int max_taps = 8;
  std::array<Matrix<T>, max_taps> taps{};       ///< side outputs of a Tapped stack; in backward, their gradients
  const std::uint64_t* dropout_seed = nullptr;  ///< changes with every step; null: nothing drops out
};

template <Backend B, class Mode_>
struct Run {
  using backend = B;
  using mode = Mode_;
  using T = typename Mode_::T;
  Stream<B> stream;
  Arena* scratch = nullptr;
  Context<T>* context = nullptr;

  template <class Other>
  Run<B, Other> as() const {
    return {stream, scratch, context};
  }
};

/// Bytes per input row that M saves in a mode; a composition sums its parts, a layer its Kept members.
template <class M, class Mode>
constexpr std::size_t saved_row_bytes() {
  using Saved = typename M::template Saved<Mode>;
  if constexpr (!keeps<M, Mode>) {
    return 0;
  } else if constexpr (requires { M::template row_bytes<Mode>(); }) {
    return M::template row_bytes<Mode>();
  } else {
    std::size_t bytes = 0;
    Saved saved{};
    for_each_field(saved, [&]<class F>(F&) {
      if constexpr (requires { F::row_bytes; }) bytes += F::row_bytes;
    });
    return bytes;
  }
}

/// Takes from the arena all that M saves for `rows` input rows.
template <class M, class Mode>
void allocate_saved(typename M::template Saved<Mode>& saved, Arena& arena, int rows) {
  if constexpr (!keeps<M, Mode>) {
    return;
  } else if constexpr (requires { M::template allocate<Mode>(saved, arena, rows); }) {
    M::template allocate<Mode>(saved, arena, rows);
  } else {
    for_each_field(saved, [&]<class F>(F& field) {
      if constexpr (requires { F::row_bytes; }) field.allocate(arena, rows);
    });
  }
}

/// Whether M's output must stay until M's backward.
template <class M, class Mode>
constexpr bool output_stays() {
  if constexpr (requires { M::template saves_output<Mode>; })
    return keeps<M, Mode> && M::template saves_output<Mode>;
  else
    return false;
}

/// Columns for adapters after a folded matrix's own, and after what is multiplied with it (fuse/folded.hpp): the most
/// that the ranks of its layers may add up to. 64 of 2 bytes keep rows at multiples of 128 bytes.
inline constexpr int adapter_tail = 64;

/// Columns after its input that M likes to write to in forward: Matrix::tail. Whoever allocates the input leaves them.
template <class M>
constexpr int input_tail_of() {
  if constexpr (requires { M::input_tail; })
    return M::input_tail;
  else
    return 0;
}
/// The same after the gradient of M's output, in backward.
template <class M>
constexpr int gradient_tail_of() {
  if constexpr (requires { M::gradient_tail; })
    return M::gradient_tail;
  else
    return 0;
}

/// Whether M's forward can write rows that are further apart than they are long, as rows with a tail do.
template <class M>
constexpr bool strided_y() {
  if constexpr (requires { M::strided_y; })
    return M::strided_y;
  else
    return false;
}
/// The same of its backward and dx.
template <class M>
constexpr bool strided_dx() {
  if constexpr (requires { M::strided_dx; })
    return M::strided_dx;
  else
    return false;
}
/// The tail of the value between two modules, and of that value's gradient.
template <class Before, class After>
constexpr int tail_between() {
  return strided_y<Before>() ? input_tail_of<After>() : 0;
}
template <class Before, class After>
constexpr int gradient_tail_between() {
  return strided_dx<After>() ? gradient_tail_of<Before>() : 0;
}

/// Input rows that M joins into one output row: a merger's square, else 1.
template <class M>
constexpr int row_divisor_of() {
  if constexpr (requires { M::row_divisor; })
    return M::row_divisor;
  else
    return 1;
}
template <class M>
constexpr int out_rows(int rows) {
  return rows / row_divisor_of<M>();
}

}  // namespace lamina
