#include <lamina/kernel/cpu/rows/route.hpp>
#include <lamina/kernel/cuda/rows/route.cuh>

#include "kernel/cuda_compare.hpp"
#include "kernel/route_problem.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

namespace {

template <class T>
void check_choice(RouteProblem<T>& problem, bool normalised) {
  const Matrix<T> logits = upload(problem.logits);
  int* const expert = gpu().upload(std::vector<int>(problem.expert.size(), -1));
  auto weight = run_twice(unwritten<float>(problem.rows, problem.k, 0), [&](Matrix<float> to) {
    route<Cuda>::choose(
        gpu().stream(),
        RouteChoose<T>{
            .logits = logits, .k = problem.k, .normalised = normalised, .expert = expert, .weight = to.data});
  });
  CHECK(gpu().download(expert, problem.expert.size()) == problem.expert);
  CHECK(count_far(weight, 2 * problem.experts, [&](int r, int c) {
          const double want = problem.probability(r, c) / (normalised ? problem.chosen(r) : 1);
          return Expected{want, want};
        }) == 0);
  auto d = run_twice(unwritten<T>(problem.rows, problem.experts, 3), [&](Matrix<T> to) {
    route<Cuda>::backward(gpu().stream(), RouteBwd<T>{.logits = logits,
                                                      .k = problem.k,
                                                      .normalised = normalised,
                                                      .expert = expert,
                                                      .weight = upload(weight).data,
                                                      .dweight = upload(problem.dweight).data,
                                                      .dlogits = to});
  });
  CHECK(count_far(d, 4 * problem.experts, [&](int r, int e) {
          return Expected{problem.dlogit(r, e, normalised), 4 / problem.chosen(r)};
        }) == 0);
}

template <class T>
void check_tables(RouteProblem<T>& problem) {
  const auto room = [&](std::size_t count) { return gpu().upload(std::vector<int>(count, -1)); };
  int *const source = room(problem.source.size()), *const place = room(problem.place.size()),
             *const ends = room(problem.ends.size());
  route<Cuda>::sort(gpu().stream(), {.expert = gpu().upload(problem.expert),
                                     .rows = problem.rows,
                                     .k = problem.k,
                                     .experts = problem.experts,
                                     .source = source,
                                     .place = place,
                                     .ends = ends});
  CHECK(gpu().download(source, problem.source.size()) == problem.source);
  CHECK(gpu().download(place, problem.place.size()) == problem.place);
  CHECK(gpu().download(ends, problem.ends.size()) == problem.ends);
}

/// The specification's results, within rounding.
template <class T>
void check_combination(RouteProblem<T>& problem) {
  const Matrix<T> sorted = upload(problem.sorted), dy = upload(problem.x);
  const int* const place = gpu().upload(problem.place);
  const float* const weight = upload(problem.weight).data;
  RandomMatrix<T> before(problem.rows, problem.width, 6, 3);
  auto y = run_twice(before, [&](Matrix<T> to) {
    route<Cuda>::combine(
        gpu().stream(),
        RouteCombine<T>{.sorted = sorted, .place = place, .weight = weight, .k = problem.k, .y = to, .beta = 0.5f});
  });
  CHECK(count_far(y, problem.k + 2, [&](int r, int i) {
          Expected want{0.5 * to_f32(before(r, i)), std::fabs(0.5 * to_f32(before(r, i)))};
          for (int c = 0; c < problem.k; ++c) {
            const double term =
                double{problem.weight(r, c)} * to_f32(problem.sorted(problem.place[r * problem.k + c], i));
            want.value += term, want.magnitude += std::fabs(term);
          }
          return want;
        }) == 0);
  float* const dweight = gpu().upload(std::vector<float>(problem.place.size()));
  auto dsorted = run_twice(unwritten<T>(problem.sorted.rows, problem.width, 3), [&](Matrix<T> to) {
    route<Cuda>::split(gpu().stream(), RouteSplit<T>{.dy = dy,
                                                     .sorted = sorted,
                                                     .place = place,
                                                     .weight = weight,
                                                     .k = problem.k,
                                                     .dsorted = to,
                                                     .dweight = dweight});
  });
  RandomMatrix<T> same = dsorted;
  std::vector<float> want(problem.place.size());
  route<Cpu>::split({}, RouteSplit<T>{.dy = problem.x,
                                      .sorted = problem.sorted,
                                      .place = problem.place.data(),
                                      .weight = problem.weight.data.data(),
                                      .k = problem.k,
                                      .dsorted = same,
                                      .dweight = want.data()});
  CHECK(dsorted.same_bits(same));
  const std::vector<float> got = gpu().download(dweight, want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    if (std::fabs(got[i] - want[i]) > sum_tolerance(problem.width) * problem.width) FAIL_CHECK("dweight " << i);
}

template <class T>
void check_balance(RouteProblem<T>& problem) {
  const Matrix<T> logits = upload(problem.logits);
  const int* const expert = gpu().upload(problem.expert);
  AuxiliarySums to{.cu_parts = gpu().upload(problem.cu_parts()), .parts = 2, .each = 2 * problem.experts, .weight = 1};
  RandomMatrix<float> before(2, to.each, 7, 0);
  auto sums = run_twice(before, [&](Matrix<float> out) {
    to.sums = out.data;
    route<Cuda>::sum(gpu().stream(), RouteSums<T>{.logits = logits, .k = problem.k, .expert = expert, .to = to});
  });
  CHECK(count_far(sums, problem.rows + problem.experts, [&](int part, int i) {
          const double sum = problem.sums(part, i % problem.experts)[i / problem.experts];
          return Expected{sum + before(part, i), sum + std::fabs(before(part, i))};
        }) == 0);
  std::vector<float> exact;
  for (int part = 0; part < 2; ++part)
    for (int i = 0; i < to.each; ++i)
      exact.push_back(static_cast<float>(problem.sums(part, i % problem.experts)[i / problem.experts]));
  to.sums = gpu().upload(exact);
  auto d = run_twice(unwritten<T>(problem.rows, problem.experts, 3), [&](Matrix<T> out) {
    route<Cuda>::backward(gpu().stream(),
                          RouteBwd<T>{.logits = logits,
                                      .k = problem.k,
                                      .expert = expert,
                                      .weight = upload(problem.weight).data,
                                      .dweight = gpu().upload(std::vector<float>(problem.expert.size())),
                                      .dlogits = out,
                                      .balance = to});
  });
  CHECK(count_far(d, 4 * problem.experts, [&](int r, int e) {
          return Expected{problem.balance(r, e), static_cast<double>(problem.experts) / (problem.rows / 3 + 1)};
        }) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("route on CUDA: choices and tables are the specification's, sums within rounding", "", float, bf16,
                   f16) {
  for (const auto& [rows, experts, k, width] : route_sizes) {
    CAPTURE(rows, experts, k, width);
    gpu().release();
    RouteProblem<TestType> problem(rows, experts, k, width, 3);
    check_tables(problem);
    check_combination(problem);
    for (const bool normalised : {true, false}) check_choice(problem, normalised);
    check_balance(problem);
  }
}
