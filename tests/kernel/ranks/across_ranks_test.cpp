#include <functional>
#include <vector>

#include <lamina/kernel/cpu/ranks/across_ranks.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/on_ranks.hpp"

using namespace lamina;

namespace {
/// Runs f(stream) as each of several ranks.
void as_ranks(int size, const std::function<void(Stream<Cpu>)>& f) {
  testing::on_ranks(size, [&](parallel::Group& group) {
    parallel::DeviceGroup<Cpu> ranks(group);
    f(Stream<Cpu>{.ranks = &ranks});
  });
}
}  // namespace

TEST_CASE("across_ranks: sums, sums that are added, what ranks have side by side, and what the first has") {
  constexpr int size = 3;
  as_ranks(size, [&](Stream<Cpu> s) {
    using across = kernel::across_ranks<Cpu>;
    const int rank = s.ranks->rank();
    std::vector<float> own(8, static_cast<float>(rank + 1)), x = own, y(8, 100);
    across::sum(s, kernel::RankSum<float>{.x = {x.data(), 2, 4}, .y = {}});
    CHECK(x == std::vector<float>(8, 6));
    x = own;
    across::sum(s, kernel::RankSum<float>{.x = {x.data(), 2, 4}, .y = {y.data(), 2, 4}});
    CHECK(y == std::vector<float>(8, 106));

    // the norm of rows of equal numbers is 1 for each, times its gain
    x = own, y = std::vector<float>(8, 10);
    std::vector<float> normed(8), gain = {1, 2, 3, 4};
    across::sum_norm(s, kernel::RankSumNorm<float>{{.x = y.data(),
                                                    .g = gain.data(),
                                                    .s = x.data(),
                                                    .y = normed.data(),
                                                    .rows = 2,
                                                    .width = 4,
                                                    .y_stride = 4}});
    CHECK(x == std::vector<float>(8, 16));
    CHECK(normed == std::vector<float>{1, 2, 3, 4, 1, 2, 3, 4});

    std::vector<float> all(2 * size * 4, -1), wanted;
    for (int row = 0; row < 2; ++row)
      for (int r = 0; r < size; ++r) wanted.insert(wanted.end(), 4, static_cast<float>(r + 1));
    across::gather(s, kernel::RankGather<float>{.x = {own.data(), 2, 4}, .y = {all.data(), 2, size * 4}});
    CHECK(all == wanted);

    std::vector<int> values(5, rank);
    across::broadcast(s, {values.data(), 5});
    CHECK(values == std::vector<int>(5, 0));
  });
}

TEST_CASE("across_ranks: a stream without ranks, and rows with gaps between them, are refused") {
  using lamina::testing::contains;
  using lamina::testing::error_of;
  std::vector<float> x(8);
  const kernel::RankSum<float> packed{.x = {x.data(), 2, 4}, .y = {}}, with_gaps{.x = {x.data(), 2, 3, 4}, .y = {}};
  CHECK(contains(error_of([&] { kernel::across_ranks<Cpu>::sum({}, packed); }), "give its stream a DeviceGroup"));
  CHECK(contains(error_of([&] { kernel::across_ranks<Cpu>::sum({}, with_gaps); }), "4 apart, wanted no gaps"));
}
