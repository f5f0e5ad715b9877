#include <lamina/kernel/cpu/elementwise/optimizer.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/step/host_state.hpp>

#include <cmath>
#include <memory>

#include "support/catch.hpp"
#include "support/on_ranks.hpp"

using namespace lamina;
using namespace lamina::train;

namespace {

/// The tiny model's weights, all learning, with values and gradients that every rank makes alike.
template <class T>
struct Learning {
  explicit Learning(const parallel::Share& share)
      : weights(list_tensors<qwen3_vl::Qwen3VL_Tiny>(),
                [](const TensorSpec&) {
                  return TensorChoice{DType::F32, 0, true};
                }),
        optimizer(share) {
    weights.keep(share);
    weights.allocate(true);
    for (const TensorSlot& slot : weights.slots())
      weights.fill(slot, [&](std::span<std::byte> to) {
        auto* values = reinterpret_cast<float*>(to.data());
        for (std::size_t i = 0; i < to.size() / sizeof(float); ++i)
          values[i] = std::sin(static_cast<float>(slot.offset + i));
      });
    optimizer.allocate(weights, {});
  }
  void step(int number, parallel::DeviceGroup<Cpu>& ranks) {
    for (std::size_t i = 0; i < weights.learning_count(); ++i)
      weights.gradients()[i] += std::cos(static_cast<float>(i + 1000 * number));  // += : the last step cleared them
    optimizer.step(weights, {.learning_rate = 0.01, .weight_decay = 0.1}, 1.0, {});
    if (ranks.size() > 1) optimizer.exchange(weights, ranks, {});
  }
  TensorMemory<T> weights;
  Optimizer<> optimizer;
};

std::size_t count_of_tiny() { return Learning<float>({0, 0}).weights.learning_count(); }

template <class V>
std::vector<V> copied(std::span<const V> values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("Shares: all values once, in the order of ranks, in whole pieces of memory") {
  for (const std::size_t count : {0u, 1u, 63u, 64u, 129u, 1000u, 100'000u})
    for (const int size : {1, 2, 3, 8}) {
      std::size_t at = 0;
      for (int rank = 0; rank < size; ++rank) {
        const parallel::Share share = parallel::share_of(count, rank, size);
        CHECK(share.first == at);
        CHECK(share.first % 64 == 0);
        at = share.end();
      }
      CHECK(at == count);
    }
}

TEMPLATE_TEST_CASE("Shared optimizer: ranks with a part of the moments each step as one optimizer, bit for bit", "",
                   float, bf16) {
  using T = TestType;
  const std::size_t count = count_of_tiny();
  parallel::DeviceGroup<Cpu> alone(parallel::alone());
  Learning<T> one({0, count});
  for (int i = 0; i < 3; ++i) one.step(i, alone);
  const int size = GENERATE(2, 3);
  std::vector<std::vector<T>> read_by_model(static_cast<std::size_t>(size));
  std::vector<int> equal(static_cast<std::size_t>(size), 0);
  testing::on_ranks(size, [&](parallel::Group& group) {
    parallel::DeviceGroup<Cpu> ranks(group);
    const auto rank = static_cast<std::size_t>(group.rank());
    Learning<T> mine(parallel::share_of(count, group.rank(), size));
    for (int i = 0; i < 3; ++i) mine.step(i, ranks);
    if constexpr (TensorMemory<T>::has_copy)
      read_by_model[rank] = copied<T>(mine.weights.copy());
    else
      read_by_model[rank] = copied<T>(mine.weights.values());
    HostState<Cpu> state;
    state.gather(mine.weights, mine.optimizer, ranks, {});
    if (group.first()) {
      state.read(mine.weights, mine.optimizer, {});
      equal[rank] = copied<float>(state.values()) == copied<float>(one.weights.values()) &&
                    copied<float>(state.exp_avg()) == copied<float>(one.optimizer.exp_avg()) &&
                    copied<float>(state.exp_avg_sq()) == copied<float>(one.optimizer.exp_avg_sq());
    }
    if (group.rank() == 1) {  // as a checkpoint's reader does: all of it is written, this rank's part is taken over
      state.read(mine.weights, mine.optimizer, {});
      for (const auto part : {state.values(), state.exp_avg(), state.exp_avg_sq()})
        for (std::size_t i = 0; i < part.size(); ++i) part[i] = static_cast<float>(i % 251);
      state.write(mine.weights, mine.optimizer, {});
      const std::size_t first = mine.optimizer.share().first;
      equal[rank] = mine.weights.values(mine.optimizer.share())[5] == static_cast<float>((first + 5) % 251) &&
                    mine.optimizer.exp_avg()[5] == static_cast<float>((first + 5) % 251);
    }
  });
  CHECK(equal[0] == 1);
  CHECK(equal[1] == 1);
  const auto same = [](const std::vector<T>& a, std::span<const T> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), b.size_bytes()) == 0;
  };
  for (const auto& values : read_by_model) {
    if constexpr (TensorMemory<T>::has_copy)
      CHECK(same(values, one.weights.copy()));
    else
      CHECK(same(values, one.weights.values()));
  }
}
