#pragma once
#include <algorithm>

#include <lamina/core/log.hpp>
#include <lamina/model/model_source.hpp>
#include <lamina/model/session.hpp>
#include <lamina/serve/decoder.hpp>

namespace lamina::serve {

/// GenerateSession for one model type on one backend: nothing learns; matrices keep the checkpoint's element type (or
/// the one asked for) where activations are fp32, else they have that of activations. Where those are fp16, Model is a
/// ScaledStream.
template <class Model, Real T = float, Backend B = Cpu>
class ModelGenerateSession final : public GenerateSession {
 public:
  ModelGenerateSession(const ModelSource& source, const GenerateOptions& options)
      : weights_(choose(source, options)),
        decoder_(device_, weights_, source.config.image_token_id,
                 context_length(source.config.text_config.max_position_embeddings, options)) {
    if (!Device<B>::reads_any_weight && options.dtype && *options.dtype != dtype_of<T>)
      note(cat("dtype ", name_of(*options.dtype), " was asked for; a GPU computes in ", name_of(dtype_of<T>),
               ", and so it does here"));
    weights_.allocate(false, device_.stream());
    checkpoint::load_weights(weights_, source.weights, source.folded);
  }
  std::span<const float> prefill(const Batch& prompt, const std::stop_token& cancelled) override {
    return decoder_.prefill(prompt, cancelled);
  }
  std::span<const float> decode(int id) override { return decoder_.decode(id); }
  bool chooses() const override { return true; }
  int choose_first(const Batch& prompt, const kernel::SamplingRule& rule, const std::stop_token& cancelled) override {
    return decoder_.choose_first(prompt, rule, cancelled);
  }
  int choose_next() override { return decoder_.choose_next(); }
  int vocab_size() const override { return Model::vocab_size; }
  int max_model_len() const override { return decoder_.capacity(); }
  bool on_device() const override { return Memory<B>::remote; }

 private:
  using Choice = typename Weights<Model, T, B>::Choice;
  static auto choose(const ModelSource& source, const GenerateOptions& options) {
    return [&source, &options](const TensorSpec& spec) {
      if constexpr (!Device<B>::reads_any_weight) return Choice{dtype_of<T>, 0, false};
      const DType stored = source.weights.at(spec.path.view()).dtype;
      const bool half = stored == DType::BF16 || stored == DType::F16;
      return Choice{options.dtype.value_or(half ? stored : DType::F32), 0, false};
    };
  }
  static int context_length(int max_position_embeddings, const GenerateOptions& options) {
    constexpr int most_by_default = 32768;
    const int most = max_position_embeddings > 0 ? max_position_embeddings : most_by_default;
    if (options.max_model_len > most)
      fail("max_model_len: ", options.max_model_len, " is more than the model's max_position_embeddings, ", most);
    return options.max_model_len > 0 ? options.max_model_len : std::min(most, most_by_default);
  }

  Device<B> device_;
  Weights<Model, T, B> weights_;
  Decoder<Model, T, B> decoder_;
};

}  // namespace lamina::serve
