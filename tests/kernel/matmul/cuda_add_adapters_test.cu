#include <lamina/kernel/cuda/matmul/adapters/add_adapters.cuh>

#include "kernel/adapted_product_problem.hpp"
#include "kernel/adapters_problem.hpp"
#include "kernel/cuda_compare.hpp"

using namespace lamina;
using namespace lamina::kernel;
using test::AdaptersProblem;
using test::upload;

namespace {

template <class T>
void check_equals_formula(const test::AdaptersShape& shape, bool runs, int gap) {
  CAPTURE(shape.rows, shape.columns, shape.rank, shape.slots, shape.slot_stride, runs, gap);
  AdaptersProblem<T> problem(shape, 3, runs, gap);
  const auto x = upload(problem.x);
  const Weight a = test::upload_weight(problem.a), b = test::upload_weight(problem.b);
  const int* slots = testing::gpu().upload(problem.slots);
  auto got = test::run_twice<T>(problem.y, [&](const Matrix<T>& y) {
    add_adapters<Cuda>::forward(testing::gpu().stream(), problem.arguments(x, a, b, slots, y));
    testing::gpu().device().wait();
  });
  CHECK(problem.count_far(got) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("add_adapters on CUDA: each row gets what its own adapter adds, and rows without one nothing", "",
                   float, bf16, f16) {
  for (const test::AdaptersShape& shape : test::adapters_shapes)
    for (const bool runs : {false, true})
      for (const int gap : {8, 3}) check_equals_formula<TestType>(shape, runs, gap);
  check_equals_formula<TestType>({.rows = 2000, .columns = 512, .widths = {128, 64}, .rank = 16, .slots = 8}, true, 8);
}

TEMPLATE_TEST_CASE("add_adapters on CUDA: a row's result does not depend on the rows around it", "", float, bf16, f16) {
  AdaptersProblem<TestType> problem({.rows = 70, .columns = 2048, .widths = {256, 64}, .rank = 32, .slots = 4}, 5);
  const auto x = upload(problem.x), together = upload(problem.y), apart = upload(problem.y);
  const Weight a = test::upload_weight(problem.a), b = test::upload_weight(problem.b);
  const int* slots = testing::gpu().upload(problem.slots);
  const auto run = [](const AddAdapters<TestType>& arguments) {
    add_adapters<Cuda>::forward(testing::gpu().stream(), arguments);
    testing::gpu().device().wait();
  };
  run(problem.arguments(x, a, b, slots, together));
  for (int n = 0; n < problem.shape.rows; ++n)
    run(problem.arguments(x.row_range(n, 1), a, b, slots + n, apart.row_range(n, 1)));
  CHECK(test::download(together, problem.y).same_bits(test::download(apart, problem.y)));
}

TEMPLATE_TEST_CASE("add_adapters on CUDA: what is left of a product with A below W is added", "", float, bf16, f16) {
  for (const test::AdaptedShape& shape : test::adapted_shapes) {
    CAPTURE(shape.rows, shape.rank, shape.slots, shape.gated, shape.beta);
    test::AdaptedProductProblem<TestType> problem(shape);
    const auto h = upload(problem.h), bias = upload(problem.bias);
    const Weight b = test::upload_weight(problem.b);
    const int* slots = testing::gpu().upload(problem.slots);
    auto got = test::run_twice<TestType>(problem.y, [&](const Matrix<TestType>& y) {
      add_adapters<Cuda>::finish(testing::gpu().stream(), problem.arguments(h, b, bias.data, slots, y));
      testing::gpu().device().wait();
    });
    CHECK(problem.count_far(got) == 0);
    for (int n = 0; n < shape.rows; ++n) {  // alone
      const auto alone = upload(problem.y);
      add_adapters<Cuda>::finish(
          testing::gpu().stream(),
          problem.arguments(h.row_range(n, 1), b, bias.data, slots + n * shape.slot_stride, alone.row_range(n, 1)));
      testing::gpu().device().wait();
      auto row = test::download(alone, problem.y);
      int other = 0;
      for (int o = 0; o < row.cols; ++o) other += to_f32(row(n, o)) != to_f32(got(n, o));
      CHECK(other == 0);
    }
  }
}
