#include <lamina/kernel/cpu/matmul/add_adapters.hpp>

#include "kernel/adapted_product_problem.hpp"
#include "kernel/adapters_problem.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

namespace {

template <class T>
void check_equals_formula(const test::AdaptersShape& shape) {
  CAPTURE(shape.rows, shape.columns, shape.rank, shape.slots, shape.slot_stride);
  test::AdaptersProblem<T> problem(shape, 3);
  auto y = problem.y;
  add_adapters<Cpu>::forward({}, problem.arguments(y));
  CHECK(problem.count_far(y) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("add_adapters: each row gets what its own adapter adds, and rows without one nothing", "", float,
                   bf16) {
  for (const test::AdaptersShape& shape : test::adapters_shapes) check_equals_formula<TestType>(shape);
}

TEST_CASE("add_adapters: a row's result does not depend on the rows around it") {
  test::AdaptersProblem<float> problem({.rows = 37, .columns = 96, .widths = {48, 16}, .rank = 8, .slots = 4}, 5);
  auto together = problem.y, apart = problem.y;
  add_adapters<Cpu>::forward({}, problem.arguments(together));
  for (int n = 0; n < problem.shape.rows; ++n) {
    AddAdapters<float> one = problem.arguments(apart);
    one.x = one.x.row_range(n, 1), one.y = one.y.row_range(n, 1), one.slots += n;
    add_adapters<Cpu>::forward({}, one);
  }
  CHECK(together.same_bits(apart));
}

TEMPLATE_TEST_CASE("add_adapters: what is left of a product with A below W is added", "", float, bf16) {
  for (const test::AdaptedShape& shape : test::adapted_shapes) {
    CAPTURE(shape.rows, shape.rank, shape.slots, shape.gated, shape.beta);
    test::AdaptedProductProblem<TestType> problem(shape);
    auto y = problem.y;
    add_adapters<Cpu>::finish(
        {}, problem.arguments(problem.h, problem.b.weight(), problem.bias.data.data(), problem.slots.data(), y));
    CHECK(problem.count_far(y) == 0);
  }
}
