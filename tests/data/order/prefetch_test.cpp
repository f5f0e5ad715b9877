#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/order/collate.hpp>
#include <lamina/data/order/prefetch.hpp>

#include <atomic>
#include <chrono>
#include <thread>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

using std::chrono::milliseconds;

/// Item i has `parts` parts; part p becomes 100 i + p. The hooks may wait or throw.
struct Numbers {
  using Item = std::vector<int>;
  int parts_per_item = 3;
  std::function<void(int)> on_begin = [](int) {};
  std::function<void(int)> on_make = [](int) {};

  Item begin(std::int64_t index, Item used) const {
    on_begin(static_cast<int>(index));
    used.assign(static_cast<std::size_t>(parts_per_item), static_cast<int>(index) * 100);
    return used;
  }
  int parts(const Item& item) const { return static_cast<int>(item.size()); }
  std::size_t bytes(const Item& item) const { return item.size(); }
  void make(Item& item, int part) const { on_make(item[static_cast<std::size_t>(part)] += part); }
};

std::vector<int> item(int index) { return {100 * index, 100 * index + 1, 100 * index + 2}; }

}  // namespace

TEST_CASE("Prefetch: items come in order and whole whatever the number of workers") {
  for (const int workers : {0, 1, 4}) {
    Numbers numbers;
    numbers.on_make = [](int value) { std::this_thread::sleep_for(std::chrono::microseconds(value * 7919 % 300)); };
    Prefetch<Numbers> prefetch(numbers, 50, {.workers = workers, .items = 3});
    for (int i = 0; i < 50; ++i) REQUIRE(prefetch.next() == item(i));
    CHECK(!prefetch.next());
    CHECK(!prefetch.next());
  }
}

TEST_CASE("Prefetch: an item without parts comes as it began") {
  for (const int workers : {0, 2}) {
    Numbers numbers;
    numbers.parts_per_item = 0;
    Prefetch<Numbers> prefetch(numbers, 5, {.workers = workers, .items = 3});
    for (int i = 0; i < 5; ++i) REQUIRE(prefetch.next() == std::vector<int>{});
    CHECK(!prefetch.next());
  }
}

TEST_CASE("Prefetch: no more items or bytes are made ahead than allowed, and one item always is") {
  for (const Ahead ahead : {Ahead{4, 2, 1000}, Ahead{4, 100, 6}, Ahead{4, 100, 1}}) {
    const int most = ahead.bytes == 1 ? 1 : 2;
    std::atomic<int> begun = 0;
    Numbers numbers;
    numbers.on_begin = [&](int) { ++begun; };
    Prefetch<Numbers> prefetch(numbers, 100, ahead);
    for (int taken = 1; taken <= 20; ++taken) {
      prefetch.next();
      std::this_thread::sleep_for(milliseconds(2));
      REQUIRE(begun <= taken + most);
    }
    for (int tries = 0; begun < 20 + most && tries < 1000; ++tries) std::this_thread::sleep_for(milliseconds(2));
    CHECK(begun == 20 + most);
  }
}

TEST_CASE("Prefetch: the workers share the parts of one item") {
  std::atomic<int> together = 0;
  Numbers numbers;
  numbers.on_make = [&](int) {  // returns once all three parts are in the making
    ++together;
    for (int tries = 0; together < 3 && tries < 5000; ++tries) std::this_thread::sleep_for(milliseconds(1));
  };
  Prefetch<Numbers> prefetch(numbers, 1, {.workers = 3});
  CHECK(prefetch.next() == item(0));
  CHECK(together == 3);
}

TEST_CASE("Prefetch: an item's first failure arrives in its turn, and the items after it still come") {
  for (const int workers : {0, 1, 3}) {
    Numbers numbers;
    numbers.on_begin = [](int index) {
      if (index == 4) fail("item 4 does not begin");
    };
    numbers.on_make = [](int value) {
      if (value == 201) std::this_thread::sleep_for(milliseconds(5));
      if (value == 201 || value == 202) fail("part ", value, " is broken");
    };
    Prefetch<Numbers> prefetch(numbers, 6, {.workers = workers, .items = 5});
    CHECK(prefetch.next() == item(0));
    CHECK(prefetch.next() == item(1));
    CHECK(error_of([&] { prefetch.next(); }) == "part 201 is broken");
    CHECK(prefetch.next() == item(3));
    CHECK(error_of([&] { prefetch.next(); }) == "item 4 does not begin");
    CHECK(prefetch.next() == item(5));
    CHECK(!prefetch.next());
  }
}

TEST_CASE("Prefetch: the memory of a used item serves a later one") {
  for (const int workers : {0, 2}) {
    Prefetch<Numbers> prefetch({}, 100, {.workers = workers, .items = 2});
    std::vector<int> used = *prefetch.next();
    const int* memory = used.data();
    prefetch.give_back(std::move(used));
    bool seen = false;
    for (int i = 1; i < 10; ++i) seen = seen || prefetch.next()->data() == memory;
    CHECK(seen);
  }
}

TEST_CASE("Prefetch: its end waits for the parts in the making alone") {
  std::atomic<int> made = 0;
  Numbers numbers;
  numbers.on_make = [&](int) { std::this_thread::sleep_for(milliseconds(20)), ++made; };
  { Prefetch<Numbers> prefetch(numbers, 1000, {.workers = 2, .items = 100}); }
  CHECK(made <= 2);
}

TEST_CASE("Windows made by several threads are those of one thread, their errors too") {
  const Folder folder;
  std::vector<EncodedSample> samples(6);
  for (int i = 0; i < 6; ++i) {
    samples[i].ids.assign(static_cast<std::size_t>(75 + 64 + 3 + i), 1);
    std::fill_n(samples[i].ids.begin() + 1, 75, image_pad_id);
    std::fill_n(samples[i].ids.begin() + 77, 64, image_pad_id);
    samples[i].labels = samples[i].ids;
    samples[i].origin = cat("x row ", i);
    samples[i].images = {folder.write(cat(i, "a.bmp"), bmp(480, 160, 10 * i)),
                         folder.write(cat(i, "b.bmp"), bmp(64, 64, 10 * i + 5))};
    samples[i].image_patches = {300, 256};
  }
  const Preparation preparation{qwen3_processor(), {}, image_pad_id};
  const auto window = [&](std::int64_t index) {
    const auto first = static_cast<std::size_t>(2 * index);
    return std::vector<std::vector<const EncodedSample*>>{{&samples[first], &samples[first + 1]}};
  };
  const auto check = [&](int workers) {
    Prefetch<WindowRecipe> prefetch({&preparation, window}, 3, {.workers = workers});
    for (int i = 0; i < 3; ++i) {
      std::optional<Collated> want;
      const std::string error = error_of([&] { want = collate(window(i), preparation); });
      CHECK(error_of([&] {
              Draft got = *prefetch.next();
              REQUIRE(want);
              CHECK(got.collated.batch.patches == want->batch.patches);
              CHECK(got.collated.batch.grids == want->batch.grids);
              CHECK(got.collated.batch.ids == want->batch.ids);
              CHECK(got.collated.batch.loss_weights == want->batch.loss_weights);
              CHECK(got.collated.origins == want->origins);
              prefetch.give_back(std::move(got));
            }) == error);
    }
  };
  for (const int workers : {0, 1, 5}) check(workers);
  folder.write("3a.bmp", bmp(64, 64));
  folder.write("2b.bmp", "BM");
  for (const int workers : {0, 1, 5}) check(workers);
}
