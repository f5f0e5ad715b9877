#pragma once
#include <lamina/compose/vision_language.hpp>

namespace lamina {

/// In place of a vision tower if a model has none: it reads rows of width 0, owns nothing and computes nothing.
template <int D>
struct NoTower {
  using In = Shape<Dyn, 0>;
  using Out = Shape<Dyn, D>;
  using params = ParamList<>;
  static constexpr Traits traits{};
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  struct Saved {};

  static void forward(auto&&...) {}
  static void backward(auto&&...) {}
};

namespace detail {
/// A model whose language model, with its name, is all that it has besides the head.
template <class Language_, class Head_>
struct DecoderAlone
    : VisionLanguage<NoTower<LanguageParts<Language_>::norm::Out::width>, Language_, DeepStack<>, Head_> {
  using composition = DecoderAlone;
  using children = List<Language_, Head_>;
  template <class L, class H>
  using rebuild = DecoderAlone<L, H>;
};
}  // namespace detail

/// A language model alone: VisionLanguage without a tower. It runs, trains and generates like one, and reads no images.
/// Its tensors are "model.<name>" and those of the head.
template <class Language, class Head>
struct TextOnly : detail::DecoderAlone<Named<name::model, Language>, Head> {};

}  // namespace lamina
