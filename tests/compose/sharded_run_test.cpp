#include <memory>
#include <vector>

#include <lamina/checkpoint/weights_file.hpp>
#include <lamina/compose/plan/tables.hpp>
#include <lamina/compose/sharded.hpp>
#include <lamina/fuse.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/random_batch.hpp>
#include <lamina/train/forward.hpp>

#include "support/catch.hpp"
#include "support/on_ranks.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;

namespace {

/// The last norm's output.
template <class Model>
std::vector<float> hidden_of(const Weights<Model, float>& weights, const Batch& batch, Stream<Cpu> stream) {
  using Pass = typename Mode<float, true, false>::inference;
  Tables<Model> tables;
  Input<float> in = tables.template build<float>(batch, Model::vocab_size - 1);
  const auto saved = std::make_unique<typename Model::template Saved<Pass>>();
  Arena scratch(std::size_t{64} << 20);
  std::vector<float> hidden(static_cast<std::size_t>(in.tokens) * Model::hidden_size);
  Model::forward(Run<Cpu, Pass>{stream, &scratch, &in.text}, weights.parameters(), *saved, in,
                 Matrix<float>(hidden.data(), in.tokens, Model::hidden_size));
  return hidden;
}

template <class M, int N>
struct Part : fused_for<Cpu, Sharded<M, N>> {
  using whole = M;
  static constexpr int ranks = N;
};
using Halves = Part<qwen3_vl::Qwen3VL_Tiny, 2>;        // a key/value head each
using Quarters = Part<qwen3_vl::Qwen3VL_Tiny, 4>;      // two ranks to a key/value head
using SameKeys = Part<qwen2_5_vl::Qwen2_5VL_Tiny, 2>;  // one key/value head, with biases

}  // namespace

TEMPLATE_TEST_CASE("Sharded: ranks that read their parts of a file compute what one computes of the whole", "", Halves,
                   Quarters, SameKeys) {
  using Model = typename TestType::whole;
  constexpr int ranks = TestType::ranks;
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "model.safetensors";
  auto weights = initialised<Model>(1);
  for (std::size_t i = 0; i < weights.values().size(); ++i)  // biases and gains too
    weights.values()[i] += 0.01f * static_cast<float>(i % 7);
  save(weights, path);
  const Batch batch = testing::random_batch<Model>({1, 4, 4}, 12, Model::vocab_size - 1, 1);
  const std::vector<float> wanted = hidden_of(weights, batch, {});
  std::vector<double> differ(ranks, -1);
  testing::on_ranks(ranks, [&](parallel::Group& group) {
    parallel::DeviceGroup<Cpu> together(group);
    Weights<TestType, float> part;
    part.allocate(false);
    checkpoint::load_weights(part, checkpoint::Checkpoint::open(path), {}, group.rank());
    const std::vector<float> hidden = hidden_of(part, batch, {nullptr, &together});
    double most = 0;
    for (std::size_t i = 0; i < hidden.size(); ++i)
      most = std::max(most, std::abs(double{hidden[i]} - double{wanted[i]}));
    differ[static_cast<std::size_t>(group.rank())] = most;
  });
  for (const double most : differ) {
    CHECK(most >= 0);
    CHECK(most < 1e-4);  // fp32 sums of 768 terms in another order, eight times one after another
  }
}
