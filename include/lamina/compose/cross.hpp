#pragma once
#include <algorithm>
#include <cmath>

#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/core/tensor/tensors.hpp>
#include <lamina/kernel/attention/attention.hpp>
#include <lamina/layer/attention_core.hpp>
#include <lamina/layer/latents.hpp>

namespace lamina {
namespace detail {

template <class M>
struct HasLatents {
  static constexpr bool value = requires { M::latents; };
};

template <bool has_latents, bool attends, class H, int queries, int keys, int then>
struct CrossCheck {
  static constexpr bool seen = true;
  static_assert(has_latents, "Cross: Queries must begin with Latents<K, D>, which are its rows");
  static_assert(queries == H::q_width, "Cross: the Out of Queries must be heads * head_dim");
  static_assert(keys == 2 * H::kv_width,
                "Cross: the Out of Keys must be k and v side by side, 2 * kv_heads * head_dim: Fork<k_proj, v_proj>");
  static_assert(then == H::q_width, "Cross: Then reads what the heads found, heads * head_dim wide");
  static_assert(!attends, "Cross: attention among its own rows is not built: they have no rotary tables");
};

}  // namespace detail

/// Attention with two inputs: K learned rows for each sequence look at the rows that come in, and are what goes out.
/// A perceiver resampler: a tower that ends in it makes K tokens of each frame, whatever its size.
///
///     q = Queries(latents)    [k v] = Keys(x)    y = Then(softmax(q k^T / sqrt(Dh)) v)
///
/// shapes      x, dx: (N, In) in S sequences;  q: (S K, H Dh);  k, v: (N, Kv Dh);  y, dy: (S K, Out)
/// backward    keeps x alone: Queries, Keys and attention run once more
/// checkpoint  the names of its parts
/// source      Alayrac et al. 2022, arXiv:2204.14198, section 2.1; one layer, as Bai et al. 2023, arXiv:2308.12966
template <class Heads_, class Queries, class Keys, class Then>
struct Cross : RunsAgain {
  using composition = Cross;
  using children = List<Queries, Keys, Then>;
  template <class Q, class K, class T>
  using rebuild = Cross<Heads_, Q, K, T>;
  static_assert(
      Checked<detail::CrossCheck<!std::is_void_v<find_t<Queries, detail::HasLatents>> && Queries::In::width == 0,
                                 !(std::is_void_v<find_t<Queries, detail::HasHeads>> &&
                                   std::is_void_v<find_t<Then, detail::HasHeads>>),
                                 Heads_, Queries::Out::width, Keys::Out::width, Then::In::width>>::seen);
  static constexpr bool meets = Queries::Out::width == Heads_::q_width && Keys::Out::width == 2 * Heads_::kv_width &&
                                Then::In::width == Heads_::q_width;
  static constexpr int latents = find_t<Queries, detail::HasLatents>::latents;
  using In = typename Keys::In;
  using Out = typename Then::Out;
  static constexpr Traits traits{.learns = learns<Queries> || learns<Keys> || learns<Then>,
                                 .rows_per_sequence = latents};
  /// Of a child's modules, those that an input row passes: costs by row are those of Keys.
  static constexpr int used(int child) { return child == 1 ? 1 : 0; }

  template <std::size_t I, class Mode>
  using part_mode_of = part_mode<at<children, I>, typename Mode::template with_dx<Mode::dx && I != 0>,
                                 I == 2 && (learns<Queries> || learns<Keys>)>;
  template <std::size_t, class Mode>
  using mode_of = typename Mode::inference;  ///< nothing is saved below
  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    saved.x = x;
    Arena::Scope scope(*run.scratch);
    Parts<typename R::mode::inference> nothing{};
    const auto found =
        attend(run.template as<typename R::mode::inference>(), p, nothing, Matrix<const typename R::T>(x));
    then(run.template as<typename R::mode::inference>(), p, nothing, found.o, y);
  }

  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    using T = typename R::T;
    using mode = typename R::mode;
    Arena::Scope scope(*run.scratch);
    const auto take = [&](int rows, int width) { return run.scratch->template matrix<T>(rows, width); };
    const Matrix<const T> x = saved.x;
    Parts<mode> again{};
    allocate_saved<Queries, part_mode_of<0, mode>>(again.queries, *run.scratch, dy.rows);
    allocate_saved<Keys, part_mode_of<1, mode>>(again.keys, *run.scratch, x.rows);
    allocate_saved<Then, part_mode_of<2, mode>>(again.then, *run.scratch, dy.rows);
    const Found<T> found = attend(run, p, again, x);
    Context<T> own = context_of(run, dy.rows);
    if constexpr (keeps<Then, part_mode_of<2, mode>>) {
      const Matrix<T> y = take(dy.rows, Out::width), dout = part_mode_of<2, mode>::dx ? take(dy.rows, Q) : Matrix<T>{};
      then(run, p, again, found.o, y);
      Then::backward(inside<2>(run, &own), p + then_at, again.then, dy, dout);
      if constexpr (part_mode_of<2, mode>::dx) {
        const Matrix<T> dq = take(dy.rows, Q), dkv = take(x.rows, 2 * KV);
        attention_backward(run, found, Matrix<const T>(dout), dq, dkv);
        if constexpr (keeps<Queries, part_mode_of<0, mode>>)
          Queries::backward(inside<0>(run, &own), p, again.queries, Matrix<const T>(dq), Matrix<T>{});
        if constexpr (keeps<Keys, part_mode_of<1, mode>>)
          Keys::backward(inside<1>(run, run.context), p + keys_at, again.keys, Matrix<const T>(dkv), dx);
      }
    }
  }

 private:
  static constexpr int Q = Heads_::q_width, KV = Heads_::kv_width;
  static constexpr int keys_at = tensor_count<Queries>, then_at = keys_at + tensor_count<Keys>;
  static constexpr kernel::AttentionShape shape() {
    return {Heads_::heads, Heads_::kv_heads, Heads_::head_dim, 1.0f / std::sqrt(static_cast<float>(Heads_::head_dim))};
  }

  template <class Mode>
  struct Parts {
    typename Queries::template Saved<part_mode_of<0, Mode>> queries;
    typename Keys::template Saved<part_mode_of<1, Mode>> keys;
    typename Then::template Saved<part_mode_of<2, Mode>> then;
  };
  template <class T>
  struct Found {
    Matrix<T> q, kv, o;
    float* lse = nullptr;
  };

  /// The context of its own rows.
  template <class R>
  static Context<typename R::T> context_of(R run, int rows) {
    Context<typename R::T> own;
    own.rows = rows;
    own.cu_seqlens = own.cu_latents = run.context->cu_latents;
    own.latent_rows = run.context->latent_rows;
    own.sequences = run.context->sequences;
    own.longest = latents;
    own.layer = run.context->layer;
    own.dropout_seed = run.context->dropout_seed;
    return own;
  }
  template <std::size_t I, class R, class C>
  static auto inside(R run, C* context) {
    auto part = run.template as<part_mode_of<I, typename R::mode>>();
    part.context = context;
    return part;
  }

  template <class R, class S, class T>
  static Found<T> attend(R run, const Parameter* p, S& parts, Matrix<const T> x) {
    const int rows = latents * run.context->sequences;
    const auto take = [&](int n, int width) { return run.scratch->template matrix<T>(n, width); };
    const Found<T> found{take(rows, Q), take(x.rows, 2 * KV), take(rows, Q),
                         run.scratch->template take<float>(static_cast<std::size_t>(rows) * Heads_::heads)};
    Context<T> own = context_of(run, rows);
    Queries::forward(inside<0>(run, &own), p, parts.queries, Matrix<const T>(nullptr, rows, 0), found.q);
    Keys::forward(inside<1>(run, run.context), p + keys_at, parts.keys, x, found.kv);
    kernel::attention<typename R::backend>::forward(
        run.stream, kernel::AttentionFwd<T>{.q = found.q,
                                            .k = found.kv.columns(0, KV),
                                            .v = found.kv.columns(KV, KV),
                                            .o = found.o,
                                            .lse = found.lse,
                                            .cu_q = run.context->cu_latents,
                                            .cu_k = run.context->cu_seqlens,
                                            .sequences = run.context->sequences,
                                            .shape = shape(),
                                            .longest = std::max(latents, run.context->longest)});
    return found;
  }
  template <class R, class S, class T>
  static void then(R run, const Parameter* p, S& parts, Matrix<T> o, Matrix<T> y) {
    Context<T> own = context_of(run, o.rows);
    Then::forward(inside<2>(run, &own), p + then_at, parts.then, Matrix<const T>(o), y);
  }
  template <class R, class T>
  static void attention_backward(R run, const Found<T>& found, Matrix<const T> dout, Matrix<T> dq, Matrix<T> dkv) {
    kernel::attention<typename R::backend>::backward(
        run.stream, kernel::AttentionBwd<T>{.q = found.q,
                                            .k = found.kv.columns(0, KV),
                                            .v = found.kv.columns(KV, KV),
                                            .o = found.o,
                                            .dout = dout,
                                            .lse = found.lse,
                                            .dq = dq,
                                            .dk = dkv.columns(0, KV),
                                            .dv = dkv.columns(KV, KV),
                                            .cu = run.context->cu_latents,
                                            .sequences = run.context->sequences,
                                            .shape = shape(),
                                            .longest = std::max(latents, run.context->longest),
                                            .cu_k = run.context->cu_seqlens});
  }
};

}  // namespace lamina
