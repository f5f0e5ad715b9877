#include <lamina/parallel/tcp/tcp_group.hpp>

#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/on_ranks.hpp"

using namespace lamina;
using namespace lamina::parallel;
using lamina::testing::contains, lamina::testing::error_of, lamina::testing::on_ranks;

TEST_CASE("Group of one: nothing changes, and what is gathered is one's own") {
  Group& one = alone();
  float value = 3;
  one.all_reduce(std::span(&value, 1));
  one.reduce(std::span(&value, 1), 0);
  one.barrier();
  CHECK(value == 3);
  CHECK(one.broadcast("text") == "text");
  CHECK(one.all_gather("mine") == std::vector<std::string>{"mine"});
}

TEST_CASE("TcpGroup: sums, gathers and broadcasts are the same on every rank") {
  const int size = GENERATE(2, 4);
  std::vector<std::vector<float>> sums(static_cast<std::size_t>(size));
  std::vector<int> right(static_cast<std::size_t>(size));
  on_ranks(size, [&](Group& group) {
    const auto rank = static_cast<std::size_t>(group.rank());
    std::vector<float> values(100'000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1.0f / static_cast<float>(i + 7 * rank + 1);
    std::vector<float> on_last = values;
    group.reduce(on_last, size - 1);
    group.all_reduce(values);
    sums[rank] = values;
    std::int64_t count = group.rank() + 1;
    group.all_reduce(std::span(&count, 1));
    std::vector<std::int64_t> all(static_cast<std::size_t>(size));
    group.all_gather(std::as_bytes(std::span(&count, 1)), std::as_writable_bytes(std::span(all)));
    bool same = group.rank() + 1 < size || on_last == values;
    for (const std::int64_t c : all) same = same && c == size * (size + 1) / 2;
    const auto texts = group.all_gather(cat("rank ", group.rank()));
    right[rank] =
        same && texts.back() == cat("rank ", size - 1) && group.broadcast(texts[rank], size - 1) == texts.back();
    group.barrier();
  });
  for (std::size_t rank = 0; rank < sums.size(); ++rank) {
    CHECK(right[rank] == 1);
    CHECK(sums[rank] == sums[0]);
  }
}

TEST_CASE("TcpGroup: a rank that is silent or has gone is an error that names it") {
  const bool silent = GENERATE(true, false);
  std::string error;
  on_ranks(
      2,
      [&](Group& group) {
        if (!group.first()) {
          if (silent) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
          return;
        }
        error = error_of([&] { group.barrier(); });
      },
      Seconds(1));
  CAPTURE(error);
  CHECK(contains(error, silent ? "rank 1 is silent for 1 s (ddp_timeout)" : "the connection to rank 1 is closed"));
}
