#include <lamina/train/forward.hpp>

#include <lamina/checkpoint/weights_file.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/random_batch.hpp>
#include <lamina/train/step.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using namespace lamina::qwen3_vl;
using Model = Qwen3VL_Tiny;

namespace {
/// -log softmax(row)[target].
double nll(Matrix<const float> logits, int row, int target) {
  double sum = 0;
  for (int v = 0; v < logits.cols; ++v) sum += std::exp(double{logits(row, v)} - double{logits(row, target)});
  return std::log(sum);
}
}  // namespace

TEST_CASE("run_forward: its logits have the loss of a training step, images included") {
  const auto weights = initialised<Model>(1);
  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Model>({1, 4, 4}, 8, image_token, 1);
  const ForwardResult out = run_forward(weights, batch, image_token);
  CHECK(out.hidden.size() == batch.ids.size() * std::size_t{Model::hidden_size});
  double loss = 0;
  for (int n = 1; n < out.tokens; ++n)
    if (batch.labels[static_cast<std::size_t>(n)] != ignored_label)
      loss += batch.loss_weights[static_cast<std::size_t>(n)] *
              nll(out.logits_matrix(), n - 1, batch.labels[static_cast<std::size_t>(n)]);
  train::Step<Model> step;
  CHECK(std::abs(loss - step.evaluate(weights, batch, image_token).loss) < 1e-5);
}

TEST_CASE("save, load: the model that was saved comes back, bit for bit, and one of another size is an error") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "model.safetensors";
  auto weights = initialised<Model>(3);
  save(weights, path);
  auto again = load<Model>(path);
  CHECK(run_forward(again, {1, 2, 3}).logits == run_forward(weights, {1, 2, 3}).logits);
  CHECK(testing::contains(testing::error_of([&] { load<Qwen3VL_Nano>(path); }), "model.safetensors"));
  struct Adapted : LoRA<Model, Rank<4>, Alpha<8>, Targets<name::q_proj>> {};
  CHECK(run_forward(load<Adapted>(path), {1, 2, 3}).logits == run_forward(weights, {1, 2, 3}).logits);  // B is 0
}
