#include <lamina/kernel/cuda/matmul/grouped_matmul.cuh>

#include "kernel/cuda_compare.hpp"
#include "kernel/grouped_problem.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

namespace {

template <class T, class W>
void check_grouped(int gap) {
  for (const GroupedShape& shape : grouped_shapes) {
    CAPTURE(shape.rows, shape.inputs, shape.outputs, gap);
    gpu().release();
    GroupedProblem<T, W> problem(shape, gap);
    const Matrix<T> x = upload(problem.x), dy = upload(problem.dy);
    const Weight w = upload_weight(problem.w);
    const T* const bias = upload(problem.bias).data;
    const int* const ends = gpu().upload(problem.ends);
    RandomMatrix<T> before(problem.x.rows, shape.outputs, 6, gap);
    auto y = run_twice(before, [&](Matrix<T> to) {
      grouped_matmul<Cuda>::forward(gpu().stream(), problem.forward(x, w, bias, ends, to));
    });
    CHECK(problem.wrong_forward(y, before) == 0);
    auto dx = run_twice(unwritten<T>(problem.x.rows, shape.inputs, gap), [&](Matrix<T> to) {
      grouped_matmul<Cuda>::backward_input(gpu().stream(), problem.backward_input(dy, w, ends, to));
    });
    CHECK(problem.wrong_backward_input(dx) == 0);
    RandomMatrix<float> db(problem.groups(), shape.outputs, 7, 0);
    std::fill(db.data.begin(), db.data.end(), 0.0f);
    const Matrix<float> sums = upload(db);
    auto dw = run_twice(problem.dw, [&](Matrix<float> to) {
      Memory<Cuda>::zero(gpu().stream(), sums.data, db.data.size() * sizeof(float));
      grouped_matmul<Cuda>::backward_weight(gpu().stream(), problem.backward_weight(dy, x, ends, to, sums.data));
    });
    CHECK(problem.wrong_backward_weight(dw) == 0);
    db = download(sums, db);
    CHECK(problem.wrong_bias(db) == 0);
  }
}

}  // namespace

TEMPLATE_TEST_CASE(
    "grouped_matmul on CUDA: rows are multiplied with the matrix of their group, and groups may be empty", "", float,
    bf16, f16) {
  for (const int gap : {8, 3}) {
    check_grouped<TestType, TestType>(gap);
    check_grouped<TestType, float>(gap);
  }
}
