#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/train/loop/dataset_source.hpp>

using namespace lamina;
using namespace lamina::data::test;
using namespace lamina::train;

namespace {

/// Seven samples of one image of a shade of its own.
struct Shades {
  Folder folder;
  std::vector<data::EncodedSample> samples{7};
  data::Preparation preparation{qwen3_processor(), {}, image_pad_id};
  Arguments arguments;

  Shades() {
    for (int i = 0; i < 7; ++i) {
      samples[i].ids.assign(66, i);
      std::fill_n(samples[i].ids.begin() + 1, 64, image_pad_id);
      samples[i].labels = samples[i].ids;
      samples[i].origin = cat("row ", i);
      samples[i].images = {folder.write(cat(i, ".bmp"), bmp(64, 64, 30 * i))};
      samples[i].image_patches = {256};
    }
    arguments.per_device_train_batch_size = 2;
    arguments.gradient_accumulation_steps = 2;
    arguments.num_train_epochs = 3;
  }
};

void check_same(const Window& a, const Window& b) {
  CHECK(a.origins == b.origins);
  CHECK(a.batch.ids == b.batch.ids);
  CHECK(a.batch.patches == b.batch.patches);
  CHECK(a.batch.loss_weights == b.batch.loss_weights);
}

}  // namespace

TEST_CASE("DatasetSource: workers give the serial windows, over epochs, after a jump and with memory given back") {
  const Shades shades;
  DatasetSource serial(shades.samples, shades.preparation, shades.arguments, 0),
      ahead(shades.samples, shades.preparation, shades.arguments, 3);
  const auto both_seek = [&](int epoch, int window) { serial.seek(epoch, window), ahead.seek(epoch, window); };
  const auto step = [&] {
    Window window = ahead.next();
    check_same(serial.next(), window);
    ahead.give_back(std::move(window));
  };
  for (int epoch = 0; epoch < 3; ++epoch) {
    both_seek(epoch, 0);
    step(), step();
    CHECK(data::test::contains(error_of([&] { ahead.next(); }), "no further window"));
  }
  both_seek(1, 1);
  step();
  both_seek(5, 0);  // beyond the run: a source does not care
  step();
}

TEST_CASE("DatasetSource: train_sampling_strategy: sequential keeps the order of rows, in every epoch") {
  Shades shades;
  shades.arguments.train_sampling_strategy = "sequential";
  DatasetSource source(shades.samples, shades.preparation, shades.arguments, 0);
  for (const int epoch : {0, 1}) {
    source.seek(epoch, 0);
    CHECK(source.next().origins == std::vector<std::string>{"row 0", "row 1", "row 2", "row 3"});
  }
}

TEST_CASE("DatasetSource: a broken image is an error in its turn") {
  const Shades shades;
  DatasetSource source(shades.samples, shades.preparation, shades.arguments, 2);
  source.seek(0, 0);
  const std::string broken = source.next().origins[0];
  shades.folder.write(broken.substr(4) + ".bmp", "BM");
  source.seek(0, 0);
  CHECK(data::test::contains(error_of([&] { source.next(); }), broken + ": image "));
  CHECK(source.next().origins.size() == 3);
}

TEST_CASE("DatasetEvalSource: batches in order, again and again, whatever the workers") {
  const Shades shades;
  DatasetEvalSource serial(shades.samples, shades.preparation, 3, 0), ahead(shades.samples, shades.preparation, 3, 2);
  REQUIRE(ahead.batches() == 3);
  for (const std::int64_t index : {0, 1, 2, 0, 2, 1}) check_same(serial.batch(index), ahead.batch(index));
}

TEST_CASE("DatasetEvalSource: with drop_last each rank has as many whole batches") {
  const Shades shades;
  const auto batches = [&](int size, int ranks) {
    const parallel::Place place{.rank = 0, .size = ranks};
    return DatasetEvalSource(shades.samples, shades.preparation, size, 0, place, true).batches();
  };
  CHECK(batches(2, 1) == 3);
  CHECK(batches(2, 2) == 2);
  CHECK(batches(2, 3) == 3);
  CHECK(data::test::contains(error_of([&] { batches(2, 4); }), "7 rows do not fill the one batch of 8"));
}
