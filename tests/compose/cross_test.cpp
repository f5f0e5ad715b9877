#include <lamina/compose.hpp>
#include <lamina/compose/plan/costs.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/layer.hpp>
#include <lamina/testing/gradient_check.hpp>

#include "support/catch.hpp"

namespace cross_test {
using namespace lamina;
using namespace lamina::name;
LAMINA_NAME(query);
LAMINA_NAME(resampler);
LAMINA_NAME(visual);

template <class Queries, class Keys>
using Two = Cross<Heads<2, 1, 4>, Queries, Keys, Named<o_proj, Linear<8, 6>>>;
using Learned = Chain<Named<query, Latents<3, 6>>, Named<q_proj, Linear<6, 8>>>;
using Seen = Fork<Named<k_proj, Linear<5, 4>>, Named<v_proj, Linear<5, 4>>>;
struct Resampler : Two<Learned, Seen> {};
/// As a tower has it: behind a layer that learns.
struct Tail : Chain<Named<proj, Linear<5, 5>>, Named<resampler, Resampler>> {};

static_assert(Tail::traits.rows_per_sequence == 3 && out_rows<Tail>(100, 2) == 6 &&
              out_rows<Linear<5, 5>>(100, 2) == 100);
static_assert(saved_row_bytes<Tail, Mode<float, true, true>>() == sizeof(float) * 5);  // what the resampler reads
static_assert(flops_per_row<Resampler> == 2 * 5 * 8);                                  // keys and values

/// y of rows in sequences of these lengths.
std::vector<float> output(const Weights<Tail, float>& weights, const std::vector<float>& x, std::vector<int> ends) {
  const int rows = ends.back(), sequences = static_cast<int>(ends.size()) - 1;
  std::vector<int> latents, cu;
  for (int i = 0; i <= sequences; ++i) cu.push_back(3 * i);
  for (int i = 0; i < 3 * sequences; ++i) latents.push_back(i % 3);
  Context<float> context;
  context.rows = rows, context.cu_seqlens = ends.data(), context.sequences = sequences;
  context.latent_rows = latents.data(), context.cu_latents = cu.data();
  std::vector<float> y(static_cast<std::size_t>(3 * sequences) * 6);
  Arena scratch(1 << 16);
  typename Tail::template Saved<Mode<float, false, false>> nothing{};
  Tail::forward(Run<Cpu, Mode<float, false, false>>{{}, &scratch, &context}, weights.parameters(), nothing,
                Matrix<const float>(x.data(), rows, 5), Matrix<float>(y.data(), 3 * sequences, 6));
  return y;
}

TEST_CASE("Cross: backward matches finite differences, frozen keys or queries too") {
  CHECK(testing::check_gradients<Tail>().passed());
  struct FrozenKeys : Two<Learned, Frozen<Seen>> {};
  struct FrozenQueries : Two<Frozen<Learned>, Seen> {};
  CHECK(testing::check_gradients<FrozenKeys>().passed());
  CHECK(testing::check_gradients<FrozenQueries>().passed());
}

TEST_CASE("Cross: each sequence becomes K rows, which are those that it has alone") {
  Weights<Tail, float> weights;
  weights.allocate(true);
  std::uint64_t seed = 0;
  for (const TensorSlot& slot : weights.slots()) {
    const auto values = testing::detail::grid_values("w", ++seed, static_cast<std::size_t>(slot.spec.count()), 1);
    std::copy(values.begin(), values.end(), reinterpret_cast<float*>(weights.data(slot)));
  }
  const std::vector<float> x = testing::detail::grid_values("x", 1, 12 * 5, 1);
  const std::vector<float> both = output(weights, x, {0, 2, 12}), first = output(weights, x, {0, 2}),
                           second = output(weights, {x.begin() + 2 * 5, x.end()}, {0, 10});
  REQUIRE(both.size() == 36);
  const auto close = [](float a, float b) { return std::abs(a - b) <= 1e-5f; };  // sums in another order
  CHECK(std::equal(first.begin(), first.end(), both.begin(), close));
  CHECK(std::equal(second.begin(), second.end(), both.begin() + 18, close));
}

TEST_CASE("Cross: adapters reach its linear layers, and names are those of its parts") {
  using Adapted = LoRA<Tail, Rank<2>, Alpha<2>, Targets<k_proj>>;
  std::vector<std::string> learning;
  for_each_tensor<Adapted>([&](const TensorSpec& spec) {
    if (spec.learns) learning.emplace_back(spec.path.view());
  });
  CHECK(learning == std::vector<std::string>{"resampler.k_proj.lora_A.weight", "resampler.k_proj.lora_B.weight"});
  CHECK(testing::check_gradients<Adapted>().passed());
}

}  // namespace cross_test
