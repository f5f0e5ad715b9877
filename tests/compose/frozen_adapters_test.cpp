#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/gradient_check.hpp>
#include <lamina/testing/overfit.hpp>
#include <lamina/testing/random_batch.hpp>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::qwen3_vl;

namespace {
struct Adapted : LoRA<Qwen3VL_Tiny, Rank<4>, Alpha<8>, AllLinears> {};
struct HalfFrozen : FreezeUnder<Adapted, visual> {};
struct DecoderAlone : LoRA<Qwen3VL_Tiny, Rank<4>, Alpha<8>, Within<language_model>> {};
static_assert(trainable_count<HalfFrozen> == trainable_count<DecoderAlone>);
static_assert(trainable_count<HalfFrozen> < trainable_count<Adapted>);
static_assert(param_count<HalfFrozen> == param_count<Adapted>);

struct Inner : LoRA<Qwen3VL_Tiny, Rank<8>, Alpha<16>, Targets<q_proj>> {};
struct Nested : LoRA<Inner, Rank<2>, Alpha<4>, Targets<v_proj>> {};
struct OtherInner : LoRA<Qwen3VL_Tiny, Rank<2>, Alpha<4>, Targets<v_proj>> {};
static_assert(trainable_count<Nested> == trainable_count<Inner> + trainable_count<OtherInner>);

template <class Model>
std::vector<double> losses_of(Weights<Model, float>& weights) {
  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Model>({1, 4, 4}, 8, image_token, 1);
  return testing::overfit(weights, batch, image_token, 3, {.learning_rate = 1e-3});
}
}  // namespace

TEST_CASE("Frozen adapters: they count as frozen, take no optimizer state, and the others train") {
  auto weights = initialised<HalfFrozen>(1);
  CHECK(static_cast<std::int64_t>(weights.learning_count()) == trainable_count<HalfFrozen>);
  int frozen_adapters = 0;
  for (std::size_t i = 0; i < weights.slots().size(); ++i) {
    const TensorSlot& slot = weights.slots()[i];
    if (!slot.spec.added || slot.name().find("visual") == std::string::npos) continue;
    ++frozen_adapters;
    CHECK_FALSE(slot.learns);
    CHECK(weights.parameters()[i].grad == nullptr);
  }
  CHECK(frozen_adapters > 0);
  const auto losses = losses_of(weights);
  CHECK(losses.back() < losses.front());
}

TEST_CASE("Frozen adapters: a gradient passes through one") {
  struct Layer : Chain<Named<q_proj, Linear<8, 8>>,
                       FreezeUnder<LoRA<Named<v_proj, Linear<8, 8>>, Rank<2>, Alpha<4>, Targets<v_proj>>, v_proj>> {};
  CHECK(testing::check_gradients<Layer>().passed());
}

TEST_CASE("LoRA around LoRA: two ranks on two layers, both train") {
  auto weights = initialised<Nested>(1);
  CHECK(static_cast<std::int64_t>(weights.learning_count()) == trainable_count<Nested>);
  const auto losses = losses_of(weights);
  CHECK(losses.back() < losses.front());
}
