// A mixture of experts: each token goes to two of four gated MLPs, and a loss of the routers keeps all four in use. The
// mixture is checked and trained with a small and with a large weight of that loss.
#include <iostream>

#include <lamina/fuse/describe.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3/model.hpp>
#include <lamina/testing/gradient_check.hpp>
#include <lamina/train/step.hpp>
#include <lamina/train/step/optimizer.hpp>

using namespace lamina;
using namespace lamina::qwen3;
LAMINA_NAME(gate);

template <int D, int F>
struct Expert : SwiGLU<Named<gate_proj, Linear<D, F>>, Named<up_proj, Linear<D, F>>, Named<down_proj, Linear<F, D>>> {};
template <int D, int F>
struct Mixture : Routed<Named<gate, Linear<D, 4>>, Experts<4, Expert<D, F>>, TopK<2>> {};
template <class C, int D = C::hidden_size>
struct MixtureLayer : Chain<Residual<Named<input_layernorm, RMSNorm<D>>, Named<self_attn, SelfAttention<C, Causal>>>,
                            Residual<Named<post_attention_layernorm, RMSNorm<D>>, Named<mlp, Mixture<D, 24>>>> {};

struct Small : TextConfig {
  static constexpr int vocab_size = 64, hidden_size = 32, num_hidden_layers = 2;
  static constexpr int num_attention_heads = 2, num_key_value_heads = 1, head_dim = 16;
};
struct Model : TextOnly<Decoder<Small, Stack<layers, 2, MixtureLayer<Small>>>, TiedHead<embed_tokens>> {};
static_assert(flops_per_row<Mixture<32, 24>> == 2 * 4 * 32 + 2 * (2 * 3 * 32 * 24));  // two experts of four

/// Sixteen sentences of 16 tokens.
Batch sentences() {
  Batch batch;
  for (int n = 0; n < 256; ++n) batch.ids.push_back(n * n % 61);
  batch.labels = batch.ids;
  batch.loss_weights.assign(256, 1.0f / 240);
  for (int s = 0; s <= 16; ++s) batch.cu_seqlens.push_back(16 * s);
  return batch;
}

/// Trains from the same start; prints and returns how uneven the experts' shares end: 2 if all are chosen alike.
double train_with(float coefficient) {
  auto weights = initialised<Model>(1);
  train::Step<Model> step;
  step.auxiliary = train::auxiliary_of<Model>();
  step.auxiliary.coefficient = coefficient;
  train::Optimizer<> optimizer(weights);
  const Batch batch = sentences();
  BatchLoss last;
  for (int i = 0; i < 30; ++i) {
    last = step.accumulate(weights, batch, -1, 0);
    optimizer.step(weights, {.learning_rate = 1e-2}, 0, {});
  }
  const double uneven = last.metrics.back().sum / last.metrics.back().weight;
  std::cout << "coefficient " << coefficient << ": loss " << last.loss << ", aux_loss " << uneven << "\n";
  return uneven;
}

int main() {
  std::cout << describe<Mixture<32, 24>>();
  const auto gradients = testing::check_gradients<Mixture<8, 6>>();
  std::cout << gradients.text();
  const double alone = train_with(1e-6f), balanced = train_with(0.1f);
  return gradients.passed() && balanced < alone ? 0 : 1;
}
