#include <lamina/kernel/cpu/matmul/grouped_matmul.hpp>

#include "kernel/grouped_problem.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

TEMPLATE_TEST_CASE("grouped_matmul: rows are multiplied with the matrix of their group, and groups may be empty", "",
                   float, bf16) {
  using T = TestType;
  for (const test::GroupedShape& shape : test::grouped_shapes) {
    CAPTURE(shape.rows, shape.inputs, shape.outputs);
    test::GroupedProblem<T> problem(shape, 3);
    test::RandomMatrix<T> before(problem.x.rows, shape.outputs, 6), y = before, dx = problem.x;
    test::RandomMatrix<float> dw = problem.dw, db(problem.groups(), shape.outputs, 7, 0);
    std::fill(db.data.begin(), db.data.end(), 0.0f);
    const int* ends = problem.ends.data();
    const Weight w = problem.w.weight();
    grouped_matmul<Cpu>::forward({}, problem.forward(problem.x, w, problem.bias.data.data(), ends, y));
    CHECK(problem.wrong_forward(y, before) == 0);
    grouped_matmul<Cpu>::backward_input({}, problem.backward_input(problem.dy, w, ends, dx));
    CHECK(problem.wrong_backward_input(dx) == 0);
    grouped_matmul<Cpu>::backward_weight({}, problem.backward_weight(problem.dy, problem.x, ends, dw, db.data.data()));
    CHECK(problem.wrong_backward_weight(dw) == 0);
    CHECK(problem.wrong_bias(db) == 0);
  }
}
