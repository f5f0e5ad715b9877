#include <lamina/kernel/cpu/optimizer/optimizer.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/step/host_state.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "support/catch.hpp"
#include "support/on_ranks.hpp"

using namespace lamina;
using namespace lamina::train;

namespace {

/// The tiny model's weights, all learning, with values and gradients that every rank makes alike.
template <class T>
struct Learning {
  explicit Learning(const parallel::Share& share, OptimizerKind kind = OptimizerKind::adamw)
      : weights(list_tensors<qwen3_vl::Qwen3VL_Tiny>(),
                [](const TensorSpec&) {
                  return TensorChoice{DType::F32, 0, true};
                }),
        optimizer(share, kind) {
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

std::span<float> floats(std::span<std::byte> bytes) {
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

bool same_state(HostState<Cpu>& state, const Optimizer<>& optimizer) {
  bool same = true;
  for (std::size_t i = 0; i < optimizer.parts().size(); ++i) {
    const StatePart& part = optimizer.parts()[i];
    same = same && part.total * size_bytes(part.dtype) == state.state(i).size() &&
           std::memcmp(part.data, state.state(i).data(), state.state(i).size()) == 0;
  }
  return same;
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
  const auto kind = GENERATE(OptimizerKind::adamw, OptimizerKind::lion);
  Learning<T> one({0, count}, kind);
  for (int i = 0; i < 3; ++i) one.step(i, alone);
  const int size = GENERATE(2, 3);
  std::vector<std::vector<T>> read_by_model(static_cast<std::size_t>(size));
  std::vector<int> equal(static_cast<std::size_t>(size), 0);
  testing::on_ranks(size, [&](parallel::Group& group) {
    parallel::DeviceGroup<Cpu> ranks(group);
    const auto rank = static_cast<std::size_t>(group.rank());
    Learning<T> mine(parallel::share_of(count, group.rank(), size), kind);
    for (int i = 0; i < 3; ++i) mine.step(i, ranks);
    if constexpr (TensorMemory<T>::has_copy)
      read_by_model[rank] = copied<T>(mine.weights.copy());
    else
      read_by_model[rank] = copied<T>(mine.weights.values());
    HostState<Cpu> state;
    state.gather(mine.weights, mine.optimizer, ranks, {});
    if (group.first()) {
      state.read(mine.weights, mine.optimizer, {});
      equal[rank] =
          copied<float>(state.values()) == copied<float>(one.weights.values()) && same_state(state, one.optimizer);
    }
    if (group.rank() == 1) {  // as a checkpoint's reader does: all of it is written, this rank's part is taken over
      state.read(mine.weights, mine.optimizer, {});
      for (const std::span<float> part : {state.values(), floats(state.state(0))})
        for (std::size_t i = 0; i < part.size(); ++i) part[i] = static_cast<float>(i % 251);
      state.write(mine.weights, mine.optimizer, {});
      const std::size_t first = mine.optimizer.share().first;
      equal[rank] = mine.weights.values(mine.optimizer.share())[5] == static_cast<float>((first + 5) % 251) &&
                    mine.optimizer.parts().at(0).template at<float>()[5] == static_cast<float>((first + 5) % 251);
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

TEMPLATE_TEST_CASE("Optimizer: from what a checkpoint keeps, each kind goes on bit for bit", "", float, bf16) {
  using T = TestType;
  const auto kind = GENERATE(OptimizerKind::adamw, OptimizerKind::sgd, OptimizerKind::lion, OptimizerKind::adafactor,
                             OptimizerKind::adamw_8bit, OptimizerKind::lion_8bit, OptimizerKind::muon);
  const parallel::Share all{0, count_of_tiny()};
  parallel::DeviceGroup<Cpu> alone(parallel::alone());
  Learning<T> whole(all, kind), resumed(all, kind);
  for (int i = 0; i < 2; ++i) whole.step(i, alone);
  HostState<Cpu> from, to;
  from.read(whole.weights, whole.optimizer, {});
  to.read(resumed.weights, resumed.optimizer, {});
  const auto copy = [](auto a, auto b) {
    REQUIRE(a.size() == b.size());
    std::copy(a.begin(), a.end(), b.begin());
  };
  copy(from.values(), to.values());
  for (std::size_t i = 0; i < whole.optimizer.parts().size(); ++i) copy(from.state(i), to.state(i));
  to.write(resumed.weights, resumed.optimizer, {});
  resumed.optimizer.steps = whole.optimizer.steps;
  for (Learning<T>* l : {&whole, &resumed}) l->step(2, alone);
  from.forget(), to.forget();
  from.read(whole.weights, whole.optimizer, {});
  CHECK(same_state(from, resumed.optimizer));
  CHECK(std::ranges::equal(whole.weights.values(), resumed.weights.values()));
}

TEST_CASE("Optimizer: 8-bit kinds keep a quarter of the moments, embeddings and small tensors in fp32") {
  const parallel::Share all{0, count_of_tiny()};
  Learning<float> wide(all), narrow(all, OptimizerKind::adamw_8bit), none(all, OptimizerKind::sgd);
  CHECK(narrow.optimizer.bytes(narrow.weights) < wide.optimizer.bytes(wide.weights));
  CHECK(none.optimizer.bytes(none.weights) <= 1024);
  const auto& slots = narrow.weights.slots();
  for (const StatePart::Place& place : narrow.optimizer.parts().at(1).places) {
    CHECK(slots[place.slot].spec.count() >= 4096);
    CHECK(slots[place.slot].name().find("embed_tokens") == std::string::npos);
    CHECK(place.first % dynamic_block == 0);
  }
}
