#include <lamina/kernel/cpu/rows/route.hpp>

#include "kernel/route_problem.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

namespace {

using Problem = test::RouteProblem<float>;

void check_choice(Problem& problem, bool normalised) {
  std::vector<int> expert(problem.expert.size());
  std::vector<float> weight(problem.expert.size());
  route<Cpu>::choose({}, RouteChoose<float>{.logits = problem.logits,
                                            .k = problem.k,
                                            .normalised = normalised,
                                            .expert = expert.data(),
                                            .weight = weight.data()});
  CHECK(expert == problem.expert);
  float worst = 0;
  for (int r = 0; r < problem.rows; ++r)
    for (int c = 0; c < problem.k; ++c) {
      const double want = problem.probability(r, c) / (normalised ? problem.chosen(r) : 1);
      worst = std::max(worst, static_cast<float>(std::fabs(weight[r * problem.k + c] / want - 1)));
    }
  CHECK(worst < 1e-5f);
}

void check_tables(Problem& problem) {
  std::vector<int> source(problem.place.size()), place = source, ends(problem.ends.size());
  route<Cpu>::sort({}, {.expert = problem.expert.data(),
                        .rows = problem.rows,
                        .k = problem.k,
                        .experts = problem.experts,
                        .source = source.data(),
                        .place = place.data(),
                        .ends = ends.data()});
  CHECK(source == problem.source);
  CHECK(place == problem.place);
  CHECK(ends == problem.ends);
}

/// x . combine(sorted) = sorted . split(x), and the gradient of each weight is what the sum changes by.
void check_combination(Problem& problem) {
  test::RandomMatrix<float> y(problem.rows, problem.width, 6), dsorted = problem.sorted;
  std::vector<float> dweight(problem.place.size());
  route<Cpu>::combine({}, RouteCombine<float>{.sorted = problem.sorted,
                                              .place = problem.place.data(),
                                              .weight = problem.weight.data.data(),
                                              .k = problem.k,
                                              .y = y});
  route<Cpu>::split({}, RouteSplit<float>{.dy = problem.x,
                                          .sorted = problem.sorted,
                                          .place = problem.place.data(),
                                          .weight = problem.weight.data.data(),
                                          .k = problem.k,
                                          .dsorted = dsorted,
                                          .dweight = dweight.data()});
  double by_weights = 0;
  for (std::size_t i = 0; i < dweight.size(); ++i) by_weights += double{dweight[i]} * problem.weight.data[i];
  CHECK(test::dot(problem.x, y) == Approx(test::dot(problem.sorted, dsorted)).epsilon(1e-4));
  CHECK(test::dot(problem.x, y) == Approx(by_weights).epsilon(1e-4));
  auto twice = y;
  route<Cpu>::combine({}, RouteCombine<float>{.sorted = problem.sorted,
                                              .place = problem.place.data(),
                                              .weight = problem.weight.data.data(),
                                              .k = problem.k,
                                              .y = twice,
                                              .beta = 1});
  CHECK(test::dot(problem.x, twice) == Approx(2 * test::dot(problem.x, y)).epsilon(1e-4));
}

void check_logits(Problem& problem, bool normalised) {
  test::RandomMatrix<float> d = problem.logits, weight = problem.weight;
  for (int r = 0; r < problem.rows; ++r)
    for (int c = 0; c < problem.k; ++c)
      weight(r, c) = static_cast<float>(problem.probability(r, c) / (normalised ? problem.chosen(r) : 1));
  route<Cpu>::backward({}, RouteBwd<float>{.logits = problem.logits,
                                           .k = problem.k,
                                           .normalised = normalised,
                                           .expert = problem.expert.data(),
                                           .weight = weight.data.data(),
                                           .dweight = problem.dweight.data.data(),
                                           .dlogits = d});
  double worst = 0;
  for (int r = 0; r < problem.rows; ++r)
    for (int e = 0; e < problem.experts; ++e)
      worst = std::max(worst, std::fabs(d(r, e) - problem.dlogit(r, e, normalised)));
  CHECK(worst < 1e-5);
}

/// Sums of each part, added to what is there; their loss's gradient, next to that of choices that do not matter.
void check_balance(Problem& problem) {
  const std::vector<int> cu_parts = problem.cu_parts();
  std::vector<float> sums(static_cast<std::size_t>(4 * problem.experts), 1.0f);
  AuxiliarySums to{
      .cu_parts = cu_parts.data(), .parts = 2, .each = 2 * problem.experts, .weight = 1, .sums = sums.data()};
  route<Cpu>::sum(
      {}, RouteSums<float>{.logits = problem.logits, .k = problem.k, .expert = problem.expert.data(), .to = to});
  double worst = 0;
  for (int part = 0; part < 2; ++part)
    for (int i = 0; i < to.each; ++i) {
      float& sum = sums[static_cast<std::size_t>(part * to.each + i)];
      sum -= 1;
      worst = std::max(worst, std::fabs(sum - problem.sums(part, i % problem.experts)[i / problem.experts]));
    }
  CHECK(worst < 1e-4);
  test::RandomMatrix<float> d = problem.logits;
  const std::vector<float> nothing(problem.expert.size());
  route<Cpu>::backward({}, RouteBwd<float>{.logits = problem.logits,
                                           .k = problem.k,
                                           .expert = problem.expert.data(),
                                           .weight = problem.weight.data.data(),
                                           .dweight = nothing.data(),
                                           .dlogits = d,
                                           .balance = to});
  worst = 0;
  for (int r = 0; r < problem.rows; ++r)
    for (int e = 0; e < problem.experts; ++e) worst = std::max(worst, std::fabs(d(r, e) - problem.balance(r, e)));
  CHECK(worst < 1e-6);
}

}  // namespace

TEST_CASE("route: the largest are chosen, rows are sorted by expert, and gradients are those of the formulas") {
  for (const auto& [rows, experts, k, width] : test::route_sizes) {
    CAPTURE(rows, experts, k, width);
    Problem problem(rows, experts, k, width, 3);
    check_tables(problem);
    check_combination(problem);
    for (const bool normalised : {true, false}) check_choice(problem, normalised), check_logits(problem, normalised);
    check_balance(problem);
  }
}
