#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/order/epoch_sampler.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {
std::vector<int> start(std::vector<int> order) {
  order.resize(10);
  return order;
}
}  // namespace

TEST_CASE("EpochSampler: the order of samples is torch.randperm's") {
  CHECK(torch_randperm(10, 42) == std::vector<int>{2, 6, 1, 8, 4, 5, 0, 9, 3, 7});
  CHECK(torch_randperm(10, 43) == std::vector<int>{8, 4, 9, 0, 5, 1, 6, 7, 2, 3});
  CHECK(start(torch_randperm(1096, 42)) == std::vector<int>{1078, 48, 800, 1087, 190, 301, 186, 381, 110, 749});
  CHECK(start(torch_randperm(1096, 43)) == std::vector<int>{972, 214, 609, 875, 785, 408, 206, 151, 729, 676});
  CHECK(start(torch_randperm(1096, 44)) == std::vector<int>{932, 669, 191, 841, 607, 1050, 842, 112, 395, 92});
  CHECK(torch_randperm(1, 7) == std::vector<int>{0});
  CHECK(torch_randperm(0, 7).empty());
}

TEST_CASE("EpochSampler: grouped by length, pieces of batches are sorted and the longest sample is first") {
  const std::vector<int> lengths = {5, 9, 1, 7, 3, 9, 2, 8, 4, 6};
  for (const int epoch : {0, 1, 2}) {
    const std::vector<int> order = grouped_by_length(lengths, 2, 42, epoch);
    CHECK(lengths[order[0]] == 9);
    std::vector<int> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    CHECK(order != grouped_by_length(lengths, 2, 43, epoch));
  }
}

TEST_CASE("EpochSampler: windows hold every sample of an epoch once, the last ones being smaller") {
  EpochSampler sampler({.sample_count = 10,
                        .per_device_train_batch_size = 3,
                        .gradient_accumulation_steps = 2,
                        .seed = 42,
                        .disable_shuffling = false});
  CHECK(sampler.windows_per_epoch() == 2);
  using Window = std::vector<std::vector<int>>;
  CHECK(sampler.window_at({0, 0}) == Window{{2, 6, 1}, {8, 4, 5}});
  CHECK(sampler.window_at({0, 1}) == Window{{0, 9, 3}, {7}});
  CHECK(sampler.window_at({1, 0}) == Window{{8, 4, 9}, {0, 5, 1}});
  CHECK(sampler.window_at({0, 1}) == Window{{0, 9, 3}, {7}});  // any position, in any order
  CHECK(sampler.after({0, 0}) == Position{0, 1});
  CHECK(sampler.after({0, 1}) == Position{1, 0});
  CHECK(sampler.at_step(5) == Position{2, 1});
}

TEST_CASE("EpochSampler: the demo configuration has 137 steps an epoch, and disable_shuffling keeps the order") {
  CHECK(EpochSampler({.sample_count = 1096,
                      .per_device_train_batch_size = 1,
                      .gradient_accumulation_steps = 8,
                      .seed = 42,
                      .disable_shuffling = false})
            .windows_per_epoch() == 137);
  EpochSampler plain({.sample_count = 3,
                      .per_device_train_batch_size = 2,
                      .gradient_accumulation_steps = 1,
                      .seed = 1,
                      .disable_shuffling = true});
  CHECK(plain.window_at({5, 0}) == std::vector<std::vector<int>>{{0, 1}});
  CHECK(plain.window_at({5, 1}) == std::vector<std::vector<int>>{{2}});
}

TEST_CASE("EpochSampler: ranks get the micro-batches in turn, as accelerate deals them") {
  const auto rows = [](int count, int batch, int rank, int ranks) {
    EpochSampler sampler({.sample_count = count,
                          .per_device_train_batch_size = batch,
                          .gradient_accumulation_steps = 2,
                          .disable_shuffling = true,
                          .rank = rank,
                          .ranks = ranks});
    std::vector<std::vector<int>> all;
    for (std::int64_t w = 0; w < sampler.windows_per_epoch(); ++w)
      for (auto& micro_batch : sampler.window_at({0, w})) all.push_back(micro_batch);
    return all;
  };
  using Rows = std::vector<std::vector<int>>;
  // accelerate 1.15: list(BatchSamplerShard(BatchSampler(range(n), b, False), ranks, rank))
  CHECK(rows(8, 2, 0, 2) == Rows{{0, 1}, {4, 5}});
  CHECK(rows(8, 2, 1, 2) == Rows{{2, 3}, {6, 7}});
  CHECK(rows(9, 2, 0, 2) == Rows{{0, 1}, {4, 5}, {8, 0}});
  CHECK(rows(9, 2, 1, 2) == Rows{{2, 3}, {6, 7}, {1, 2}});
  CHECK(rows(7, 2, 1, 2) == Rows{{2, 3}, {6, 0}});
  CHECK(rows(10, 4, 2, 3) == Rows{{8, 9, 0, 1}});
  CHECK(rows(3, 2, 2, 4) == Rows{{1, 2}});
  CHECK(rows(3, 2, 3, 4) == Rows{{0, 1}});
}

TEST_CASE("EpochSampler: ranks share a window by cost, and together have what they have in turn") {
  std::vector<std::int64_t> costs(16, 10);
  for (int dear : {0, 2, 4, 6}) costs[static_cast<std::size_t>(dear)] = 100;
  std::vector<int> seen;
  for (int rank = 0; rank < 2; ++rank) {
    EpochSampler sampler({.sample_count = 16,
                          .gradient_accumulation_steps = 4,
                          .disable_shuffling = true,
                          .rank = rank,
                          .ranks = 2,
                          .costs = costs});
    std::int64_t load = 0;
    const auto window = sampler.window_at({0, 0});
    CHECK(window.size() == 4);
    for (const auto& micro_batch : window)
      for (int sample : micro_batch) load += costs[static_cast<std::size_t>(sample)], seen.push_back(sample);
    CHECK(load == 220);
  }
  std::sort(seen.begin(), seen.end());
  CHECK(seen == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("EpochSampler: batches are torch's and accelerate's, with and without dataloader_drop_last") {
  for (const Json& wanted : read_json(golden("batches.json"))) {
    INFO(wanted.dump());
    for (int rank = 0; rank < wanted["ranks"]; ++rank) {
      EpochSampler sampler({.sample_count = wanted["rows"],
                            .per_device_train_batch_size = wanted["batch"],
                            .gradient_accumulation_steps = 1,
                            .disable_shuffling = !wanted["shuffled"],
                            .dataloader_drop_last = wanted["drop_last"],
                            .rank = rank,
                            .ranks = wanted["ranks"]});
      for (int epoch = 0; epoch < 2; ++epoch) {
        std::vector<std::vector<int>> batches;
        for (std::int64_t w = 0; w < sampler.windows_per_epoch(); ++w)
          batches.push_back(sampler.window_at({epoch, w}).at(0));
        CHECK(Json(batches) == wanted["epochs"][epoch][rank]);
      }
    }
  }
}

TEST_CASE("EpochSampler: impossible settings and positions are refused") {
  SamplerOptions options{.sample_count = 4,
                         .per_device_train_batch_size = 1,
                         .gradient_accumulation_steps = 1,
                         .seed = 42,
                         .disable_shuffling = false};
  EpochSampler sampler(options);
  CHECK(contains(error_of([&] { sampler.window_at({0, 4}); }), "window 4 of epoch 0 does not exist, an epoch has 4"));
  CHECK(contains(error_of([] { torch_randperm(214748365, 1); }), "at most 214 million"));
  options.gradient_accumulation_steps = 0;
  CHECK(contains(error_of([&] { EpochSampler{options}; }), "gradient_accumulation_steps"));
  options.per_device_train_batch_size = 0;
  CHECK(contains(error_of([&] { EpochSampler{options}; }), "per_device_train_batch_size"));
  options.sample_count = 0;
  CHECK(contains(error_of([&] { EpochSampler{options}; }), "no sample to train on"));
  options.sample_count = 3, options.per_device_train_batch_size = 2, options.ranks = 2;
  options.gradient_accumulation_steps = 1, options.dataloader_drop_last = true;
  CHECK(contains(error_of([&] { EpochSampler{options}; }),
                 "dataloader_drop_last: 3 rows do not fill the one batch of 4"));
}
