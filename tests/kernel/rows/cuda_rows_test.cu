#include <lamina/kernel/cuda/elementwise/add.cuh>
#include <lamina/kernel/cuda/elementwise/convert.cuh>
#include <lamina/kernel/cuda/elementwise/dropout.cuh>
#include <lamina/kernel/cuda/rows/embedding.cuh>
#include <lamina/kernel/cuda/rows/rows.cuh>

#include <algorithm>
#include <array>
#include <numeric>
#include "kernel/cuda_compare.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

namespace {

constexpr std::array<int, 2> sizes[] = {{0, 8}, {1, 1}, {3, 7}, {5, 64}, {17, 100}, {33, 264}, {700, 1032}};

template <class F>
void for_sizes(F f) {
  for (const auto& [rows, cols] : sizes)
    for (const bool aligned : {false, true}) {
      CAPTURE(rows, cols, aligned);
      gpu().release();
      f(rows, cols, gap(cols, aligned));
    }
}

/// n distinct numbers below `below`, in no order.
std::vector<int> distinct(int n, int below, unsigned seed) {
  std::vector<int> all(below);
  std::iota(all.begin(), all.end(), 0);
  std::shuffle(all.begin(), all.end(), std::mt19937(seed));
  all.resize(n);
  return all;
}
std::vector<int> any_of(int n, int least, int below, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int> v(n);
  for (int& i : v) i = least + static_cast<int>(random() % static_cast<unsigned>(below - least));
  return v;
}

}  // namespace

TEMPLATE_TEST_CASE("add and copy on CUDA: sums are rounded once, copies are equal", "", float, bf16, f16) {
  using T = TestType;
  for_sizes([](int rows, int cols, int gap) {
    RandomMatrix<T> x(rows, cols, 1, gap), y(rows, cols, 2, gap);
    const Matrix<T> from = upload(x);
    auto sum = run_twice(y, [&](Matrix<T> to) { add<Cuda>::forward(gpu().stream(), Add<T>{.x = from, .y = to}); });
    CHECK(count_unequal(sum, [&](int i, int j) { return to_f32(y(i, j)) + to_f32(x(i, j)); }) == 0);
    auto copy = run_twice(unwritten<T>(rows, cols, gap + 2),
                          [&](Matrix<T> to) { add<Cuda>::copy(gpu().stream(), Add<T>{.x = from, .y = to}); });
    CHECK(count_unequal(copy, [&](int i, int j) { return to_f32(x(i, j)); }) == 0);
  });
}

TEMPLATE_TEST_CASE("dropout on CUDA: drops what the mask says, in place too", "", float, bf16, f16) {
  using T = TestType;
  for_sizes([](int rows, int cols, int gap) {
    RandomMatrix<T> x(rows, cols, 1, gap);
    const DropoutMask mask{0.3f, 1234567890123456789ull};
    auto y =
        run_twice(x, [&](Matrix<T> to) { dropout<Cuda>::forward(gpu().stream(), mask, Dropout<T>{.x = to, .y = to}); });
    CHECK(count_unequal(y, [&](int i, int j) {
            return to_f32(x(i, j)) * mask.factor(static_cast<std::uint64_t>(i) * cols + j);
          }) == 0);
  });
}

TEMPLATE_TEST_CASE("rows on CUDA: gather, scatter, scatter_add and zero", "", float, bf16, f16) {
  using T = TestType;
  for_sizes([](int rows, int cols, int gap) {
    const int others = 2 * rows + 3;
    RandomMatrix<T> x(rows, cols, 1, gap), y(others, cols, 2, gap);
    const auto index = distinct(rows, others, 3);
    std::vector<int> back(others, -1);
    for (int i = 0; i < rows; ++i) back[index[i]] = i;
    const int* on_gpu = gpu().upload(index);
    const Matrix<T> from = upload(x), wide = upload(y);
    auto got = run_twice(unwritten<T>(rows, cols, gap), [&](Matrix<T> to) {
      kernel::rows<Cuda>::gather(gpu().stream(), rows, Rows<T>{.x = wide, .index = on_gpu, .y = to});
    });
    CHECK(count_unequal(got, [&](int i, int j) { return to_f32(y(index[i], j)); }) == 0);
    got = run_twice(y, [&](Matrix<T> to) {
      kernel::rows<Cuda>::scatter(gpu().stream(), rows, Rows<T>{.x = from, .index = on_gpu, .y = to});
    });
    CHECK(count_unequal(got, [&](int i, int j) { return to_f32(back[i] < 0 ? y(i, j) : x(back[i], j)); }) == 0);
    got = run_twice(y, [&](Matrix<T> to) {
      kernel::rows<Cuda>::scatter_add(gpu().stream(), rows, Rows<T>{.x = from, .index = on_gpu, .y = to});
    });
    CHECK(count_unequal(got, [&](int i, int j) {
            return back[i] < 0 ? to_f32(y(i, j)) : to_f32(y(i, j)) + to_f32(x(back[i], j));
          }) == 0);
    got = run_twice(y, [&](Matrix<T> to) { kernel::rows<Cuda>::zero(gpu().stream(), to); });
    CHECK(count_unequal(got, [](int, int) { return 0.0f; }) == 0);
  });
}

namespace {

template <class T, class W>
void check_embedding_forward() {
  for_sizes([](int rows, int cols, int gap) {
    RandomMatrix<W> w(50, cols, 1, gap);
    const auto ids = any_of(rows, -3, 50, 2);
    const EmbeddingFwd<T> a{.ids = gpu().upload(ids), .w = upload_weight(w)};
    auto y = run_twice(unwritten<T>(rows, cols, gap), [&](Matrix<T> to) {
      EmbeddingFwd<T> to_y = a;
      to_y.y = to;
      embedding<Cuda>::forward(gpu().stream(), to_y);
    });
    CHECK(count_unequal(y, [&](int i, int j) { return ids[i] < 0 ? 0.0f : to_f32(w(ids[i], j)); }) == 0);
  });
}

template <class T, class W>
void check_learned_position_forward() {
  for_sizes([](int rows, int cols, int gap) {
    RandomMatrix<T> x(rows, cols, 1, gap);
    RandomMatrix<W> w(49, cols, 2, gap);
    RandomMatrix<float> weight(rows, 4, 3, 0);
    const auto row = any_of(4 * rows, 0, 49, 4);
    LearnedPositionFwd<T> a{.x = upload(x), .w = upload_weight(w)};
    a.row = gpu().upload(row), a.weight = upload(weight).data;
    auto y = run_twice(unwritten<T>(rows, cols, gap), [&](Matrix<T> to) {
      LearnedPositionFwd<T> to_y = a;
      to_y.y = to;
      learned_position<Cuda>::forward(gpu().stream(), to_y);
    });
    CHECK(count_unequal(y, [&](int i, int j) {
            float position = 0;
            for (int k = 0; k < 4; ++k) position = std::fma(weight(i, k), to_f32(w(row[4 * i + k], j)), position);
            return to_f32(x(i, j)) + position;
          }) == 0);
  });
}

/// dw after rows of dy were added to it, one after the other.
template <class T>
void check_table_gradient(int rows, int cols, int gap, int per_row, const std::vector<int>& row, int table_rows) {
  RandomMatrix<T> dy(rows, cols, 1, gap);
  RandomMatrix<float> dw(table_rows, cols, 2, 0), weight(rows, 4, 3, 0);
  auto want = dw;
  for (int i = 0; i < rows * per_row; ++i)
    for (int j = 0; row[i] >= 0 && j < cols; ++j)
      want(row[i], j) = std::fma(per_row == 4 ? weight.data[i] : 1.0f, to_f32(dy(i / per_row, j)), want(row[i], j));
  const int* on_gpu = gpu().upload(row);
  const float* weights = upload(weight).data;
  const Matrix<T> from = upload(dy);
  auto got = run_twice(dw, [&](Matrix<float> to) {
    if (per_row == 1) {
      const EmbeddingBwd<T> a{.ids = on_gpu, .dy = from, .dw = to};
      ExactScratch scratch(embedding<Cuda>::workspace_bytes(a));
      embedding<Cuda>::backward(scratch.stream(), a);
      gpu().device().wait();  // scratch lives until then
    } else {
      const LearnedPositionBwd<T> a{.dy = from, .row = on_gpu, .weight = weights, .dw = to};
      ExactScratch scratch(learned_position<Cuda>::workspace_bytes(a));
      learned_position<Cuda>::backward(scratch.stream(), a);
      gpu().device().wait();
    }
  });
  CHECK(count_unequal(got, [&](int i, int j) { return want(i, j); }) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("embedding on CUDA: forward gives the table's rows, zeros below 0", "", float, bf16, f16) {
  check_embedding_forward<TestType, float>();
  check_embedding_forward<TestType, bf16>();
  check_embedding_forward<TestType, f16>();
}
TEMPLATE_TEST_CASE("learned_position on CUDA: forward adds four weighted rows", "", float, bf16, f16) {
  check_learned_position_forward<TestType, float>();
  check_learned_position_forward<TestType, bf16>();
  check_learned_position_forward<TestType, f16>();
}
TEMPLATE_TEST_CASE("embedding and learned_position on CUDA: backward adds in order, bit by bit", "", float, bf16, f16) {
  using T = TestType;
  for_sizes([](int rows, int cols, int gap) {
    check_table_gradient<T>(rows, cols, gap, 1, any_of(rows, -2, 37, 5), 37);
    check_table_gradient<T>(rows, cols, gap, 1, any_of(rows, 4000, 4003, 6), 5000);
    check_table_gradient<T>(rows, cols, gap, 4, any_of(4 * rows, 0, 16, 7), 16);
  });
}

namespace {
template <class From, class To>
void check_convert() {
  for (const int n : {0, 1, 7, 8, 8191, 8192, 8200, 100003})
    for (const int shift : {0, 1}) {
      CAPTURE(n, shift);
      gpu().release();
      RandomMatrix<From> x(1, n + shift, 1, 0);
      auto y = run_twice(unwritten<To>(1, n, 5), [&](Matrix<To> to) {
        convert<Cuda>::run(gpu().stream(), Convert<From, To>{upload(x).data + shift, to.data, std::size_t(n)});
      });
      CHECK(count_unequal(y, [&](int, int j) { return to_f32(x(0, j + shift)); }) == 0);
      for (int j = n; j < n + 5; ++j) CHECK(std::isnan(to_f32(y.data[j])));
    }
}
}  // namespace

TEMPLATE_TEST_CASE("convert on CUDA: rounds to nearest even as the host does", "", float, bf16, f16) {
  check_convert<TestType, float>();
  check_convert<TestType, bf16>();
  check_convert<TestType, f16>();
}
