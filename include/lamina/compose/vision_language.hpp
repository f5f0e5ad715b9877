#pragma once
#include <lamina/compose/wrap/frozen.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/compose/wrap/scaled.hpp>
#include <lamina/compose/wrap/tapped.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/kernel/elementwise/embedding_noise.hpp>
#include <lamina/layer/embedding.hpp>
#include <lamina/layer/linear.hpp>

namespace lamina {

namespace name {
LAMINA_NAME(model);  // the module that holds both towers
}

/// Decoder layers after which the vision tower's side outputs are added at the image tokens.
template <int... Layers>
using DeepStack = Indices<Layers...>;

/// The output head reads the embedding table: no parameters of its own. Name is what reports call it.
template <class Table, class Name = Table>
struct TiedHead {
  using tag = Name;
  static constexpr Traits traits{};
  static constexpr bool tied = true;
};
/// An output head of its own, "<tag>.weight". Its tag says that it is a head: no adapter goes there.
template <class Tag, class L>
struct OwnHead : Named<Tag, L> {
  using composition = OwnHead;
  struct tag : Tag {
    static constexpr bool output_head = true;
  };
  template <class C>
  using rebuild = OwnHead<Tag, C>;
  static constexpr bool tied = false;
};

/// The two towers under the name "model"; they run as VisionLanguage says.
template <class Visual, class Language>
struct Towers {
  using composition = Towers;
  using tag = name::model;
  using children = List<Visual, Language>;
  template <class V, class L>
  using rebuild = Towers<V, L>;
  using visual = Visual;
  using language = Language;
  static constexpr Traits traits{.learns = learns<Visual> || learns<Language>};
};

namespace detail {

/// The three parts of a language model (embedding, stack, norm), with Frozen and names around them resolved.
template <class M, bool freeze = false>
struct LanguageParts;
template <class M, bool freeze>
requires(M::traits.transparent) struct LanguageParts<M, freeze>
    : LanguageParts<typename M::module, freeze || M::traits.freezes> {
};
template <class E, class S, class N, bool freeze>
struct LanguageParts<Chain<E, S, N>, freeze> {
  template <class M>
  using part = std::conditional_t<freeze, Frozen<M>, M>;
  using embed = part<E>;
  using stack = part<S>;
  using norm = part<N>;
};
template <class M, bool freeze>
requires(!M::traits.transparent && !std::is_same_v<M, typename M::composition>) struct LanguageParts<M, freeze>
    : LanguageParts<typename M::composition, freeze> {
};

/// Every layer that DeepStack names must exist: the map of another would never be added.
template <class Deep, int layers>
struct DeepStackCheck {
  static constexpr bool seen = true;
  static_assert(Deep::all_below(layers), "DeepStack: names a decoder layer that the stack does not have");
};
/// Side outputs of a tower; each goes to one decoder layer.
template <class Tower>
inline constexpr int taps_of = 0;
template <class Tower>
requires(!std::is_void_v<find_t<Tower, HasTaps>>) inline constexpr int taps_of<Tower> =
    static_cast<int>(find_t<Tower, HasTaps>::taps_at.size());
template <int taps, int wanted>
struct TapsMeet {
  static constexpr bool seen = true;
  static_assert(
      taps == wanted,
      "DeepStack: names as many decoder layers as the tower has side outputs (Tapped): TapsMeet<outputs, layers> "
      "has both numbers");
};

/// Side outputs replace no tokens: they are added at those of the tower's own output.
template <class Tower>
struct TapRowsMeet {
  static constexpr bool seen = true;
  static constexpr bool holds = [] {
    if constexpr (taps_of < Tower >> 0) {
      using Tap = typename find_t<Tower, HasTaps>::Tap;
      return Tap::traits.row_divisor == Tower::traits.row_divisor &&
             Tap::traits.rows_per_sequence == Tower::traits.rows_per_sequence;
    }
    return true;
  }();
  static_assert(
      holds, "VisionLanguage: the tower's side outputs (Tapped) and its output must have as many rows for each image");
};

/// The name that M has by itself, if any.
struct Unnamed {
  static constexpr std::string_view text = "";
};
template <class M>
struct TagOf {
  using type = Unnamed;
};
template <class M>
requires requires { typename M::tag; }
struct TagOf<M> {
  using type = typename M::tag;
};

}  // namespace detail

/// What a vision-language model reads, as its backend sees it.
template <class T>
struct Input {
  const int* ids = nullptr;  ///< (N) negative at the tokens of an image
  int tokens = 0;
  Matrix<const T> patches;           ///< (P, patch elements), P may be 0
  const int* visual_rows = nullptr;  ///< (V) the token that each row of the tower's output replaces
  Context<T> text, vision;
  float noise_alpha = 0;  ///< of NEFTune, in training steps that have a dropout_seed; 0: no noise
};

/// What the vision tower makes of images: (V, D) rows that replace image tokens, and those added after the layers of
/// DeepStack.
template <class T>
struct VisualRows {
  Matrix<T> main;
  std::array<Matrix<T>, Context<T>::max_taps> taps{};
};

/// A vision tower whose rows replace image tokens of a language model; its side outputs are added to the residual
/// stream after the decoder layers of Deep. Image rows go in by order of appearance.
template <class Visual_, class Language_, class Deep, class Head_>
struct VisionLanguage {
  using composition = VisionLanguage;
  using Visual = Visual_;
  using Language = Language_;
  using Head = Head_;
  using visual_tag = typename detail::TagOf<Visual>::type;
  using language_tag = typename detail::TagOf<Language>::type;
  using children = List<Towers<Visual, Language>, Head>;
  template <class T, class H>
  using rebuild = VisionLanguage<typename T::visual, typename T::language, Deep, H>;
  static constexpr Traits traits{.learns = learns<Visual> || learns<Language> || learns<Head>};

  using Parts = detail::LanguageParts<Language>;
  using Embed = typename Parts::embed;
  using EmbedLayer = typename detail::Innermost<Embed>::type;
  using Stack_ = typename Parts::stack;
  using Norm = typename Parts::norm;
  static constexpr int tap_count = Deep::size;  ///< side outputs of the tower
  static constexpr int hidden_size = Norm::Out::width, vocab_size = EmbedLayer::vocab_size;
  static constexpr int patch_width = Visual::In::width;
  static constexpr bool reads_images = patch_width > 0;  ///< false: there is no tower (text_only.hpp)
  static constexpr std::string_view towers_name = reads_images ? name::model::text : "";  ///< of the module of both
  static constexpr int merge = [] {  // spatial_merge_size: the tower joins merge x merge patches
    int m = 1;
    while (m * m < Visual::traits.row_divisor) ++m;
    return m;
  }();
  /// How many tokens an image has.
  static constexpr VisualTokens visual_tokens{merge, Visual::traits.rows_per_sequence};
  static_assert(Checked<detail::TapRowsMeet<Visual>>::seen);
  static_assert(Checked<detail::DeepStackCheck<Deep, detail::Innermost<Stack_>::type::repeats>>::seen);
  static_assert(Checked<detail::TapsMeet<detail::taps_of<Visual>, Deep::size>>::seen);
  static_assert(Visual::Out::width == hidden_size,
                "VisionLanguage: the vision tower's out_hidden_size must be the language model's hidden_size");

  template <class Mode>
  using visual_mode = part_mode<Visual, Mode, false>;
  template <class Mode>
  using stack_mode = part_mode<Stack_, Mode, learns<Embed> || learns<Visual>>;
  template <class Mode>
  using norm_mode = part_mode<Norm, Mode, learns<Embed> || learns<Visual> || learns<Stack_>>;

  template <class Mode>
  struct Saved {
    typename Visual::template Saved<visual_mode<Mode>> visual;
    typename Stack_::template Saved<stack_mode<Mode>> stack;
    typename Norm::template Saved<norm_mode<Mode>> norm;
    Matrix<typename Mode::T> embedded, last;  ///< (N, D) into the stack, out of it
  };
  /// Takes what a training run of `tokens` tokens and `patches` patches saves.
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int tokens, int patches) {
    allocate_saved<Visual, visual_mode<Mode>>(saved.visual, arena, patches);
    allocate_saved<Stack_, stack_mode<Mode>>(saved.stack, arena, tokens);
    allocate_saved<Norm, norm_mode<Mode>>(saved.norm, arena, tokens);
    saved.embedded = arena.matrix<typename Mode::T>(tokens, hidden_size);
    saved.last = arena.matrix<typename Mode::T>(tokens, hidden_size);
  }
  template <class Mode>
  static constexpr std::size_t saved_bytes_per_token =
      saved_row_bytes<Stack_, stack_mode<Mode>>() + saved_row_bytes<Norm, norm_mode<Mode>>() +
      2 * sizeof(typename Mode::T) * hidden_size;
  template <class Mode>
  static constexpr std::size_t saved_bytes_per_patch = saved_row_bytes<Visual, visual_mode<Mode>>();

  /// hidden (N, D) from ids and patches. saved holds allocate()'s memory while training; else its matrices are empty.
  template <class R, class S>
  static void forward(R run, const Parameter* p, S& saved, Input<typename R::T>& in, Matrix<typename R::T> hidden) {
    using T = typename R::T;
    Arena::Scope scope(*run.scratch);
    VisualRows<T> visual;
    if (in.patches.rows > 0) {
      visual = take_visual_rows<T>(*run.scratch, in);
      encode_images(run, p, saved, in, visual);
    }
    decode(run, p, saved, in, visual, hidden);
  }

  /// Rows that the tower makes of the patches of in.
  template <class T>
  static int visual_count(const Input<T>& in) {
    return visual_tokens.rows(in.patches.rows, in.vision.sequences);
  }
  /// Room for them.
  template <class T>
  static VisualRows<T> take_visual_rows(Arena& arena, const Input<T>& in) {
    const int rows = visual_count(in);
    VisualRows<T> visual{.main = arena.matrix<T>(rows, hidden_size), .taps = {}};
    for (int k = 0; k < Deep::size; ++k) visual.taps[k] = arena.matrix<T>(rows, hidden_size);
    return visual;
  }

  /// The tower's rows of all patches of in.
  template <class R, class S>
  static void encode_images(R run, const Parameter* p, S& saved, Input<typename R::T>& in,
                            const VisualRows<typename R::T>& visual) {
    const InModule model(run.stream, towers_name);
    in.vision.taps = visual.taps;
    auto tower = run.template as<visual_mode<typename R::mode>>();
    tower.context = &in.vision;
    Visual::forward(tower, p, saved.visual, in.patches, visual.main);
  }

  /// hidden (N, D) from ids and the rows that replace the tokens in.visual_rows, which may be none.
  template <class R, class S>
  static void decode(R run, const Parameter* p, S& saved, Input<typename R::T>& in,
                     const VisualRows<typename R::T>& visual, Matrix<typename R::T> hidden) {
    using T = typename R::T;
    using mode = typename R::mode;
    using rows = kernel::rows<typename R::backend>;
    Arena::Scope scope(*run.scratch);
    const auto take = [&](int n) { return run.scratch->template matrix<T>(n, hidden_size); };
    const Matrix<T> x = saved.embedded ? saved.embedded : take(in.tokens);
    const Matrix<T> last = saved.last ? saved.last : take(in.tokens);
    const int shown = visual.main.rows;

    const InModule model(run.stream, towers_name);
    {
      const InModule language(run.stream, language_name), table(run.stream, embed_name);
      EmbedLayer::forward(run, p + embed_at, in.ids, x);
    }
    if constexpr (mode::train) add_noise(run, in, x);
    if (shown > 0) rows::scatter(run.stream, shown, kernel::Rows<T>{.x = visual.main, .index = in.visual_rows, .y = x});
    run.context = &in.text;
    const InModule language(run.stream, language_name);
    Stack_::forward(run.template as<stack_mode<mode>>(), p + stack_at, saved.stack, Matrix<const T>(x), last,
                    [&](int layer, Matrix<T> y) {
                      const int k = Deep::find(layer);
                      if (k >= 0 && shown > 0)
                        rows::scatter_add(run.stream, shown,
                                          kernel::Rows<T>{.x = visual.taps[k], .index = in.visual_rows, .y = y});
                    });
    Norm::forward(run.template as<norm_mode<mode>>(), p + norm_at, saved.norm, Matrix<const T>(last), hidden);
  }

  /// Adds every learning parameter's gradient, given that of hidden.
  template <class R, class S>
  static void backward(R run, const Parameter* p, S& saved, Input<typename R::T>& in,
                       Matrix<const typename R::T> dhidden) {
    using T = typename R::T;
    using mode = typename R::mode;
    using rows = kernel::rows<typename R::backend>;
    if constexpr (keeps<Norm, norm_mode<mode>>) {
      Arena::Scope scope(*run.scratch);
      const int shown = visual_count(in);
      const auto take = [&](int n) { return run.scratch->template matrix<T>(n, hidden_size); };
      run.context = &in.text;
      const InModule model(run.stream, towers_name);
      const bool to_tower = learns<Visual> && shown > 0;
      const Matrix<T> dlast = norm_mode<mode>::dx ? take(in.tokens) : Matrix<T>{};
      bool to_input = to_tower;
      if constexpr (learns<Embed>) to_input = to_input || p[embed_at].grad;
      const Matrix<T> dx = stack_mode<mode>::dx && to_input ? take(in.tokens) : Matrix<T>{};
      language_backward(run, p, saved, in, dhidden, dlast, dx, to_tower);
      if constexpr (learns<Visual> && keeps<Stack_, stack_mode<mode>>) {
        if (!to_tower) return;
        const Matrix<T> dmain = take(shown);
        rows::gather(run.stream, shown, kernel::Rows<T>{.x = dx, .index = in.visual_rows, .y = dmain});
        auto tower = run.template as<visual_mode<mode>>();
        tower.context = &in.vision;
        Visual::backward(tower, p, saved.visual, Matrix<const T>(dmain), Matrix<T>{});
      }
    }
  }

  /// The head's matrix (V, D): the embedding table if the head is tied to it.
  static const Parameter& head(const Parameter* p) {
    if constexpr (Head::tied)
      return p[embed_at];
    else
      return p[norm_at + tensor_count<Norm>];
  }
  /// What a product with that matrix is multiplied by: a tied table may be Scaled.
  static constexpr float head_scale = Head::tied ? power_of_two(-matrix_exponent_of<Embed>) : 1;

 private:
  static constexpr int embed_at = tensor_count<Visual>, stack_at = embed_at + tensor_count<Embed>,
                       norm_at = stack_at + tensor_count<Stack_>;
  static constexpr std::string_view language_name = language_tag::text, embed_name = detail::TagOf<Embed>::type::text;

  template <class R, class T>
  static void add_noise(R run, const Input<T>& in, Matrix<T> embedded) {
    if (in.noise_alpha == 0 || !in.text.dropout_seed) return;
    kernel::embedding_noise<typename R::backend>::add(run.stream,
                                                      kernel::EmbeddingNoise<T>{.x = embedded,
                                                                                .cu_seqlens = in.text.cu_seqlens,
                                                                                .sequences = in.text.sequences,
                                                                                .alpha = in.noise_alpha,
                                                                                .step_seed = in.text.dropout_seed});
  }
  template <class R, class S, class T>
  static void language_backward(R run, const Parameter* p, S& saved, Input<T>& in, Matrix<const T> dhidden,
                                Matrix<T> dlast, Matrix<T> dx, bool to_tower) {
    using mode = typename R::mode;
    using rows = kernel::rows<typename R::backend>;
    const InModule language(run.stream, language_name);
    Norm::backward(run.template as<norm_mode<mode>>(), p + norm_at, saved.norm, dhidden, dlast);
    run.gradients_final(p + norm_at, tensor_count<Norm>);
    if constexpr (!Head::tied) run.gradients_final(p + norm_at + tensor_count<Norm>, tensor_count<Head>);
    if constexpr (keeps<Stack_, stack_mode<mode>>) {
      const int shown = visual_count(in);
      for (int k = 0; to_tower && k < Deep::size; ++k)
        in.vision.taps[k] = run.scratch->template matrix<T>(shown, hidden_size);
      Stack_::backward(run.template as<stack_mode<mode>>(), p + stack_at, saved.stack, Matrix<const T>(dlast), dx,
                       [&](int layer, Matrix<T> dy) {
                         const int k = Deep::find(layer);
                         if (to_tower && k >= 0)
                           rows::gather(run.stream, shown,
                                        kernel::Rows<T>{.x = dy, .index = in.visual_rows, .y = in.vision.taps[k]});
                       });
      if constexpr (learns<Embed>) {
        const InModule embed(run.stream, embed_name);
        EmbedLayer::backward(run, p + embed_at, in.ids, Matrix<const T>(dx));
        run.gradients_final(p + embed_at, tensor_count<Embed>);
      }
    }
  }
};

}  // namespace lamina
