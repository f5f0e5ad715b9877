#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/order/collate.hpp>
#include <lamina/data/order/pack.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

using Knapsacks = std::vector<std::vector<std::size_t>>;

/// A sample of so many tokens, the ids first, first + 1, ..., all of them learned.
EncodedSample run_of(int first, int length, std::int64_t preprocessing_batch = 0) {
  EncodedSample sample;
  for (int i = 0; i < length; ++i) sample.ids.push_back(first + i);
  sample.labels = sample.ids;
  sample.origin = cat("row ", first);
  sample.preprocessing_batch = preprocessing_batch;
  return sample;
}

}  // namespace

TEST_CASE("greedy_knapsack: the largest length that fits comes next, of equal ones the last") {
  CHECK(greedy_knapsack({3, 7, 3, 5, 2, 9}, 10) == Knapsacks{{5}, {1, 2}, {3, 0, 4}});
  CHECK(greedy_knapsack({4, 4, 4}, 8) == Knapsacks{{2, 1}, {0}});
  CHECK(greedy_knapsack({11, 10}, 10) == Knapsacks{{1}});
  CHECK(greedy_knapsack({}, 10).empty());
}

TEST_CASE("PreprocessingBatches: each process has a contiguous share, in batches") {
  const auto first_rows = [](PreprocessingBatches batches) {
    std::vector<std::int64_t> rows;
    for (std::int64_t row = 0; row < batches.rows; ++row) rows.push_back(batches.first_row(row));
    return rows;
  };
  CHECK(first_rows({.rows = 7, .batch_size = 3}) == std::vector<std::int64_t>{0, 0, 0, 3, 3, 3, 6});
  CHECK(first_rows({.rows = 7, .batch_size = 3, .workers = 2}) == std::vector<std::int64_t>{0, 0, 0, 3, 4, 4, 4});
  CHECK(first_rows({.rows = 5, .batch_size = 9, .workers = 3}) == std::vector<std::int64_t>{0, 0, 2, 2, 4});
  CHECK(first_rows({.rows = 2, .batch_size = 9, .workers = 8}) == std::vector<std::int64_t>{0, 1});
}

TEST_CASE("cut_into_blocks: texts follow one another, and what is left of a preprocessing batch is lost") {
  const std::vector<EncodedSample> blocks = cut_into_blocks({run_of(10, 3), run_of(20, 4), run_of(30, 5, 2)}, 3);
  REQUIRE(blocks.size() == 3);
  CHECK(blocks[0].ids == std::vector<int>{10, 11, 12});
  CHECK(blocks[1].ids == std::vector<int>{20, 21, 22});
  CHECK(blocks[2].ids == std::vector<int>{30, 31, 32});
  CHECK(blocks[2].labels == blocks[2].ids);
  CHECK(blocks[2].origin == "row 30");
}

TEST_CASE("pack: neat keeps samples apart as sequences, plain makes one sequence of them") {
  const std::vector<EncodedSample> samples{run_of(10, 3), run_of(20, 5), run_of(30, 2, 3), run_of(40, 2, 3)};
  for (const bool neat : {false, true}) {
    const std::vector<EncodedSample> packed = pack(samples, 8, neat);
    REQUIRE(packed.size() == 2);
    CHECK(packed[0].ids == std::vector<int>{20, 21, 22, 23, 24, 10, 11, 12});
    CHECK(packed[0].origin == "row 20 + row 10");
    CHECK(packed[1].ids == std::vector<int>{40, 41, 30, 31});
    CHECK(packed[0].sequence_count() == (neat ? 2 : 1));

    std::vector<std::vector<const EncodedSample*>> window{{&packed[0], &packed[1]}};
    const Collated collated = collate(window, {qwen3_processor(), {}, image_pad_id});
    CHECK(collated.batch.cu_seqlens == (neat ? std::vector<int>{0, 5, 8, 10, 12} : std::vector<int>{0, 8, 12}));
    CHECK(collated.origins == (neat ? std::vector<std::string>{"row 20", "row 10", "row 40", "row 30"}
                                    : std::vector<std::string>{"row 20 + row 10", "row 40 + row 30"}));
    const int learned = neat ? 8 : 10;  // no token precedes the first of a sequence
    float sum = 0;
    for (const float weight : collated.batch.loss_weights) sum += weight;
    CHECK(sum == Approx(1.0f));
    CHECK(collated.batch.loss_weights[1] == Approx(1.0f / static_cast<float>(learned)));
    CHECK(collated.batch.loss_weights[5] == (neat ? 0.0f : collated.batch.loss_weights[1]));
  }
}
