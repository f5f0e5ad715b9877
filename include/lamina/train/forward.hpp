#pragma once
#include <memory>
#include <utility>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/kernel/matmul/matmul.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/train/step/batch.hpp>

namespace lamina {

/// What a model makes of a batch of N tokens, in fp32 on the host.
struct ForwardResult {
  int tokens = 0, hidden_size = 0, vocab_size = 0;
  std::vector<float> hidden;  ///< (N, hidden_size) after the last norm
  std::vector<float> logits;  ///< (N, vocab_size) of the token that follows
  Matrix<const float> logits_matrix() const { return {logits.data(), tokens, vocab_size}; }
};

namespace detail {
/// The pass itself, on a backend or as a plan.
template <class Model, class R, class S>
void forward_with_logits(R run, const Parameter* p, S& saved, Input<typename R::T>& in, Matrix<typename R::T> hidden,
                         Matrix<typename R::T> logits) {
  using T = typename R::T;
  Model::forward(run, p, saved, in, hidden);
  kernel::matmul<typename R::backend>::forward(
      run.stream, kernel::MatmulFwd<T>{.x = Matrix<const T>(hidden), .w = Model::head(p).value, .y = logits});
}
template <class T, Backend B>
std::vector<float> downloaded(Stream<B> stream, Matrix<T> from) {
  std::vector<T> values(static_cast<std::size_t>(from.rows) * static_cast<std::size_t>(from.cols));
  Memory<B>::download(stream, values.data(), from.data, values.size() * sizeof(T));
  if constexpr (std::is_same_v<T, float>)
    return values;
  else {
    std::vector<float> wide(values.size());
    std::transform(values.begin(), values.end(), wide.begin(), [](T v) { return to_f32(v); });
    return wide;
  }
}
}  // namespace detail

/// Runs a model once, without gradients. vision_tokens: the ids in whose places the batch's images and videos are.
/// Include the backend's kernels as well. Takes the memory that it needs and gives it back.
template <class Model, Real T, Backend B>
ForwardResult run_forward(const Weights<Model, T, B>& weights, const Batch& batch, VisionTokens vision_tokens,
                          Device<B>& device) {
  using Pass = typename Mode<T, true, true>::inference;
  constexpr int hidden_size = Model::hidden_size, vocab_size = Model::vocab_size;
  train::StepBatch<Model, T, B> input;
  input.read(batch, vision_tokens, 0);
  auto saved = std::make_unique<typename Model::template Saved<Pass>>();
  const int n = input.in.tokens;
  const auto pass = [&]<Backend On>(Stream<On> stream, Arena& memory) {
    Input<T> in = input.in;
    const auto hidden = memory.matrix<T>(n, hidden_size), logits = memory.matrix<T>(n, vocab_size);
    detail::forward_with_logits<Model>(Run<On, Pass>{stream, &memory, &in.text}, weights.parameters(), *saved, in,
                                       hidden, logits);
    return std::pair(hidden, logits);
  };
  Arena counting;
  pass(plan_stream<B>(nullptr, counting), counting);
  Arena tables(input.staging.remote_bytes(), Memory<B>{}), memory(counting.peak_bytes(), Memory<B>{});
  input.staging.send_packed(device.stream(), tables);
  const auto [hidden, logits] = pass(device.stream(&memory), memory);
  return {n, hidden_size, vocab_size, detail::downloaded(device.stream(), hidden),
          detail::downloaded(device.stream(), logits)};
}
template <class Model, Real T>
ForwardResult run_forward(const Weights<Model, T>& weights, const Batch& batch, VisionTokens vision_tokens = {}) {
  Device<Cpu> device;
  return run_forward(weights, batch, vision_tokens, device);
}
/// Of one sequence of tokens.
template <class Model, Real T>
ForwardResult run_forward(const Weights<Model, T>& weights, std::vector<int> ids) {
  Batch batch;
  batch.cu_seqlens = {0, static_cast<int>(ids.size())};
  batch.ids = std::move(ids);
  return run_forward(weights, batch);
}

}  // namespace lamina
