// An optimizer without fp32: values and moments are bf16, rounded at random.
#include <lamina/kernel/cpu/optimizer/optimizer.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/step/host_state.hpp>

#include <cmath>
#include <cstring>
#include <vector>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::train;

namespace {

/// One decoder layer of the tiny model, all learning, started from values that bf16 holds.
template <class T>
struct Rounded {
  explicit Rounded(OptimizerKind kind, std::optional<std::uint64_t> seed)
      : weights(list_tensors<qwen3_vl::Qwen3VL_Tiny>(),
                [](const TensorSpec& spec) {
                  return TensorChoice{DType::F32, 0, spec.path.view().find("layers.1.") != std::string_view::npos};
                }),
        optimizer(parallel::Share{0, weights.learning_count()}, kind, seed) {
    if (seed) weights.keep_as_copy();
    weights.allocate(true);
    for (const TensorSlot& slot : weights.slots())
      if (slot.learns)
        weights.fill(slot, [&](std::span<std::byte> to) {
          auto* values = reinterpret_cast<float*>(to.data());
          for (std::size_t i = 0; i < to.size() / sizeof(float); ++i)
            values[i] = to_f32(round_to<bf16>(std::sin(static_cast<float>(slot.offset + i))));
        });
    optimizer.allocate(weights, {});
  }
  void step() {
    for (std::size_t i = 0; i < weights.learning_count(); ++i)
      weights.gradients()[i] = std::cos(0.37f * static_cast<float>(i)) * 1e-3f;
    optimizer.step(weights, {.learning_rate = 1e-4, .weight_decay = 0.1, .momentum = 0.9}, 0, {});
  }
  std::vector<float> values() {
    state.forget();
    state.read(weights, optimizer, {});
    return {state.values().begin(), state.values().end()};
  }
  TensorMemory<T> weights;
  Optimizer<> optimizer;
  HostState<Cpu> state;
};

}  // namespace

TEST_CASE("round_at_random: the mean is the value, and values that bf16 holds stay") {
  for (const float x : {1.0f, -0.3f, 1.00390625f, 3.0e-39f, -1234.567f}) {
    const float exact = to_f32(round_to<bf16>(x));
    CHECK(to_f32(kernel::round_at_random(exact, 0xffff)) == exact);
    double sum = 0;
    for (std::uint64_t bits = 0; bits < 65536; ++bits)
      sum += static_cast<double>(to_f32(kernel::round_at_random(x, bits)));
    CHECK(sum / 65536 == static_cast<double>(x));  // all bits once: no error at all
  }
  CHECK(std::isinf(to_f32(kernel::round_at_random(INFINITY, 0xffff))));
  CHECK(std::isnan(to_f32(kernel::round_at_random(NAN, 0xffff))));
  double sum = 0;
  for (std::uint64_t place = 0; place < 100'000; ++place)
    sum += static_cast<double>(kernel::hashed_bits(7, place) & 0xffff) / 65536;
  CHECK(std::abs(sum / 100'000 - 0.5) < 0.005);  // 5 standard deviations
}

TEST_CASE("Optimizer in bf16: the copy alone, and fp32 values of bf16, become the same") {
  const auto kind = GENERATE(OptimizerKind::adamw, OptimizerKind::lion, OptimizerKind::sgd_momentum);
  Rounded<bf16> copy(kind, 5);
  Rounded<float> wide(kind, 5);
  CHECK(copy.weights.values().empty());
  CHECK(copy.optimizer.parts()[0].dtype == DType::BF16);
  for (int s = 0; s < 3; ++s) copy.step(), wide.step();
  CHECK(copy.values() == wide.values());
  CHECK(std::memcmp(copy.optimizer.parts()[0].data, wide.optimizer.parts()[0].data,
                    2 * copy.weights.learning_count()) == 0);
  const std::vector<float> before = copy.values();
  std::vector<float> changed = before;
  for (float& v : changed) v = -v;
  std::copy(changed.begin(), changed.end(), copy.state.values().begin());
  copy.state.write(copy.weights, copy.optimizer, {});
  CHECK(copy.values() == changed);  // a checkpoint that is read
}

TEST_CASE("Optimizer in bf16: steps too small for bf16 add up to those of fp32") {
  Rounded<float> exact(OptimizerKind::adamw, std::nullopt), rounded(OptimizerKind::adamw, 11);
  const std::vector<float> before = exact.values();
  for (int s = 0; s < 40; ++s) exact.step(), rounded.step();
  const std::vector<float> wanted = exact.values(), got = rounded.values();
  double error = 0, moved = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double sign = wanted[i] > before[i] ? 1 : -1;
    moved += sign * (static_cast<double>(wanted[i]) - static_cast<double>(before[i]));
    error += sign * (static_cast<double>(got[i]) - static_cast<double>(wanted[i]));
  }
  CHECK(moved / static_cast<double>(wanted.size()) > 3e-3);  // an ulp of bf16 near 1 is 8e-3
  CHECK(std::abs(error) < 0.02 * moved);
}
