#include <lamina/model/qwen3_vl.hpp>

#include "model/parity.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Decoder : LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, Within<name::language_model>> {};
struct All : LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, AllLinears> {};
const char* const file = "parity/qwen3_vl_tiny.safetensors";

template <class Model>
void check_run(Weights<Model, float>& weights, const Golden& golden, const std::string& run) {
  const std::vector<float> losses = golden.floats("lora." + run + ".loss");
  train::Step<Model> step;
  std::vector<Batch> batches;
  for (const char* s : {"A", "B", "C"}) batches.push_back(golden_batch(golden, s, Model::patch_width));
  for (std::size_t i = 0; i < 3; ++i) {
    Batch one = packed_batch({batches[i]});
    CHECK(std::abs(step.evaluate(weights, one, image_token_of<Model>(golden)).loss - losses[i]) <= value_tolerance * losses[i]);
  }
  step.accumulate(weights, packed_batch(batches), image_token_of<Model>(golden), 0);
  check_gradients(weights, golden, "lora." + run + ".grad.");
}
}  // namespace

TEST_CASE("Qwen3-VL LoRA: decoder adapters' losses, gradients and ten steps are transformers'") {
  const Golden golden(file);
  auto weights = rule_weights<Decoder>([](std::string_view) { return true; });
  check_run(*weights, golden, "decoder");
  check_ten_steps(*weights, golden, "lora", 1e-3);
}

TEST_CASE("Qwen3-VL LoRA: adapters of vision tower, mergers and decoder have transformers' gradients") {
  const Golden golden(file);
  auto weights = rule_weights<All>([](std::string_view) { return true; });
  check_run(*weights, golden, "all");
}
