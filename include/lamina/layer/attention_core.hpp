#pragma once
#include <cmath>

#include <lamina/core/run.hpp>
#include <lamina/kernel/attention/attention.hpp>
#include <lamina/kernel/attention/paged_attention.hpp>
#include <lamina/kernel/norm/norm_rope.hpp>

namespace lamina {

namespace detail {
template <int H, int K, int Dh>
struct HeadsCheck {  // apart from Heads, whose numbers stay good: one mistake is one error
  static constexpr bool seen = true;
  static_assert(K > 0 && H % K == 0, "Heads<H, K, Dh>: query heads must be a multiple of key/value heads");
  static_assert(Dh % 4 == 0, "Heads<H, K, Dh>: rotary embedding turns pairs on two axes, so head_dim must divide by 4");
};
}  // namespace detail

/// H query heads that share K key/value heads, each Dh wide.
template <int H, int K, int Dh>
struct Heads {
  static constexpr int heads = H, kv_heads = K, head_dim = Dh, q_width = H * Dh, kv_width = K * Dh;
  static_assert(Checked<detail::HeadsCheck<H, K, Dh>>::seen);
};

/// Which keys a query sees. Causal: its own sequence, up to itself. Bidirectional: its own sequence (a frame).
struct Causal {
  static constexpr bool causal = true;
  static constexpr int window = 0;
  static constexpr bool windowed(int) { return false; }
};
struct Bidirectional {
  static constexpr bool causal = false;
  static constexpr int window = 0;
  static constexpr bool windowed(int) { return false; }
};
/// The last Window tokens of its own sequence, itself among them.
template <int Window>
struct Sliding {
  static_assert(Window > 0, "Sliding<Window>: Window is a number of tokens, so it must be positive");
  static constexpr bool causal = true;
  static constexpr int window = Window;
  static constexpr bool windowed(int) { return false; }
};
/// Its own window, but for the layers named, which see the whole frame (Qwen2.5-VL's fullatt_block_indexes).
template <int... FullLayers>
struct WindowedExcept {
  static constexpr bool causal = false;
  static constexpr int window = 0;
  static constexpr bool windowed(int layer) { return ((layer != FullLayers) && ...); }
};

/// Attention between the projections: x holds q, k and v side by side; q and k are normed (if the model does) and
/// rotated, then o = softmax(q k^T / sqrt(Dh)) v over packed sequences.
///
/// shapes      x, dx: (N, (H + 2K) Dh);  y, dy: (N, H Dh)
/// backward    saves x, y and the log-sum-exp of each row (4 H bytes); q and k are normed and rotated again
/// generation  with pages in the context, each sequence's k and v join its pages, and attention reads those
/// checkpoint  the norms' own names: "<path>.q_norm.weight", "<path>.k_norm.weight"
/// source      Vaswani et al. 2017, arXiv:1706.03762; grouped heads: Ainslie et al. 2023, arXiv:2305.13245
template <class Heads_, class Mask_, class Rope_, class... Norms>
struct AttentionCore {
  using HeadsOf = Heads_;
  using Mask = Mask_;
  using Rope = Rope_;
  static_assert(sizeof...(Norms) == 0 || sizeof...(Norms) == 2,
                "AttentionCore: give a norm for q and one for k, or none");
  using composition = AttentionCore;
  using children = List<Norms...>;
  template <class... C>
  using rebuild = AttentionCore<Heads_, Mask_, Rope_, C...>;
  static constexpr int Q = Heads_::q_width, KV = Heads_::kv_width;
  using In = Shape<Dyn, Q + 2 * KV>;
  using Out = Shape<Dyn, Q>;
  static constexpr bool has_norms = sizeof...(Norms) == 2;
  static constexpr Traits traits{.learns = (learns<Norms> || ... || false), .strided_y = true, .strided_dx = true};
  template <class T>
  static constexpr std::int64_t bytes_per_row = std::int64_t{sizeof(T)} * (Q + 2 * KV + Q);
  static constexpr float eps = 1e-6f;
  static constexpr kernel::AttentionShape shape() {
    return {Heads_::heads, Heads_::kv_heads, Heads_::head_dim, 1.0f / std::sqrt(static_cast<float>(Heads_::head_dim)),
            Mask_::causal, Mask_::window};
  }

  template <std::size_t, class Mode>
  using mode_of = typename Mode::inference;  ///< the norms save nothing: they are computed again
  template <class Mode>
  static constexpr Saves saves{.input = true, .output = true};
  template <class Mode>
  struct Saved {
    using Value = Matrix<const typename Mode::T>;
    BOOST_HANA_DEFINE_STRUCT(Saved, (Value, x), (Value, o), (Kept<Heads_::heads>, lse));
  };

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    using T = typename R::T;
    Arena::Scope scope(*run.scratch);
    auto& context = *run.context;
    const Matrix<const T> qkv = x;
    const Matrix<T> q = run.scratch->template matrix<T>(x.rows, Q);
    const Matrix<T> k = run.scratch->template matrix<T>(x.rows, KV);
    if constexpr (Mask_::causal)
      if (context.pages) return attend_pages<T>(run, p, qkv, q, k, y);
    rotate(run, p, qkv, q, k);
    kernel::attention<typename R::backend>::forward(run.stream,
                                                    kernel::AttentionFwd<T>{.q = q,
                                                                            .k = k,
                                                                            .v = qkv.columns(Q + KV, KV),
                                                                            .o = y,
                                                                            .lse = saved.lse.data,
                                                                            .cu_q = segments(context),
                                                                            .cu_k = segments(context),
                                                                            .sequences = segment_count(context),
                                                                            .shape = shape(),
                                                                            .longest = longest_segment(context)});
    saved.x = qkv;
    saved.o = y;
  }

  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx_wanted) {
    using T = typename R::T;
    Arena::Scope scope(*run.scratch);
    const auto rows_of = [&](int width) { return run.scratch->template matrix<T>(dy.rows, width); };
    const Matrix<T> dx = dx_wanted ? Matrix<T>(dx_wanted) : rows_of(Q + 2 * KV);
    const Matrix<T> q = rows_of(Q), k = rows_of(KV), dq = rows_of(Q), dk = rows_of(KV), dv = dx.columns(Q + KV, KV);
    rotate(run, p, saved.x, q, k);
    kernel::attention<typename R::backend>::backward(run.stream,
                                                     kernel::AttentionBwd<T>{.q = q,
                                                                             .k = k,
                                                                             .v = saved.x.columns(Q + KV, KV),
                                                                             .o = saved.o,
                                                                             .dout = dy,
                                                                             .lse = saved.lse.data,
                                                                             .dq = dq,
                                                                             .dk = dk,
                                                                             .dv = dv,
                                                                             .cu = segments(*run.context),
                                                                             .sequences = segment_count(*run.context),
                                                                             .shape = shape(),
                                                                             .longest = longest_segment(*run.context)});
    unrotate(run, p, 0, saved.x.columns(0, Q), dq, dx.columns(0, Q));
    unrotate(run, p, 1, saved.x.columns(Q, KV), dk, dx.columns(Q, KV));
  }

 private:
  /// Keys and values of all sequences are written first, so that one may read pages which another has filled in the
  /// same step.
  template <class T, class R>
  static void attend_pages(R run, const Parameter* p, Matrix<const T> qkv, Matrix<T> q, Matrix<T> k, Matrix<T> y) {
    using paged = kernel::paged_attention<typename R::backend>;
    const kernel::PagedCache<T>& cache = *run.context->pages;
    const auto k_pages = cache.keys(run.context->layer), v_pages = cache.values(run.context->layer);
    paged::rotate_and_write(run.stream, kernel::RotateAndWrite<T>{.q = turned(run, p, 0, qkv, q),
                                                                  .k = turned(run, p, 1, qkv, k),
                                                                  .write = {.k = k,
                                                                            .v = qkv.columns(Q + KV, KV),
                                                                            .k_pages = k_pages,
                                                                            .v_pages = v_pages,
                                                                            .slots = cache.slots,
                                                                            .head_dim = Heads_::head_dim}});
    kernel::PagedAttentionFwd<T> a{.q = q,
                                   .k = k_pages,
                                   .v = v_pages,
                                   .o = y,
                                   .tables = cache.tables,
                                   .cu_q = cache.cu_q,
                                   .cu_keys = cache.cu_keys,
                                   .sequences = cache.singles,
                                   .shape = shape(),
                                   .splits = cache.splits};
    if (cache.singles > 0) paged::decode(run.stream, a);
    a.cu_q += cache.singles, a.cu_keys += cache.singles, a.tables.rows += cache.singles;
    a.sequences = cache.chunks;
    if (cache.chunks > 0) paged::forward(run.stream, a);
  }

  template <class C>
  static const int* segments(const C& context) {
    return Mask_::windowed(context.layer) ? context.cu_windows : context.cu_seqlens;
  }
  template <class C>
  static int segment_count(const C& context) {
    return Mask_::windowed(context.layer) ? context.windows : context.sequences;
  }

  template <class C>
  static int longest_segment(const C& context) {
    return Mask_::windowed(context.layer) ? context.longest_window : context.longest;
  }

  template <class T>
  static const T* gain(const Parameter* p, int i) {
    if constexpr (has_norms)
      return static_cast<const T*>(p[i].value.data);
    else
      return nullptr;
  }
  /// How q (i = 0) or k (i = 1) is normed and turned.
  template <class R, class T>
  static kernel::NormRopeFwd<T> turned(R run, const Parameter* p, int i, Matrix<const T> qkv, Matrix<T> y) {
    return {.x = i == 0 ? qkv.columns(0, Q) : qkv.columns(Q, KV),
            .g = gain<T>(p, i),
            .cos = run.context->cos,
            .sin = run.context->sin,
            .y = y,
            .head_dim = Heads_::head_dim,
            .eps = eps};
  }
  template <class R, class T>
  static void rotate(R run, const Parameter* p, Matrix<const T> qkv, Matrix<T> q, Matrix<T> k) {
    kernel::norm_rope<typename R::backend>::forward(run.stream, turned(run, p, 0, qkv, q), turned(run, p, 1, qkv, k));
  }
  template <class R, class T>
  static void unrotate(R run, const Parameter* p, int i, Matrix<const T> x, Matrix<T> dy, Matrix<T> dx) {
    float* dg = nullptr;
    if constexpr (has_norms) dg = p[i].grad;
    kernel::norm_rope<typename R::backend>::backward(run.stream, kernel::NormRopeBwd<T>{.x = x,
                                                                                        .g = gain<T>(p, i),
                                                                                        .cos = run.context->cos,
                                                                                        .sin = run.context->sin,
                                                                                        .dy = dy,
                                                                                        .dx = dx,
                                                                                        .dg = dg,
                                                                                        .head_dim = Heads_::head_dim,
                                                                                        .eps = eps});
  }
};

}  // namespace lamina
