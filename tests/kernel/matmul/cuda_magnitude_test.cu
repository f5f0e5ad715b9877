#include <lamina/kernel/cuda/matmul/magnitude.cuh>

#include "kernel/cuda_compare.hpp"

using namespace lamina;
using namespace lamina::kernel;
using test::RandomMatrix, test::upload;

namespace {

struct MagnitudeShape {
  int rows, inputs, outputs, rank;
};
constexpr MagnitudeShape magnitude_shapes[] = {{1, 8, 8, 1}, {37, 72, 40, 5}, {300, 1000, 264, 64}};

/// m and norms of an output, as every test has them.
float m_of(int n) { return 0.5f + 0.01f * static_cast<float>(n % 31); }
float norm_of(int n) { return 1.5f - 0.01f * static_cast<float>(n % 29); }
const float* vector_of(int size, float (*value)(int)) {
  std::vector<float> values;
  for (int n = 0; n < size; ++n) values.push_back(value(n));
  return testing::gpu().upload(values);
}

template <class T>
void check_norms(const MagnitudeShape& s) {
  CAPTURE(s.inputs, s.outputs, s.rank);
  RandomMatrix<T> w(s.outputs, s.inputs, 1, 3), a(s.rank, s.inputs, 2, 0), b(s.outputs, s.rank, 3, 1);
  const float scale = 2;
  auto norms = test::run_twice<float>(test::unwritten<float>(1, s.outputs, 0), [&](const Matrix<float>& to) {
    magnitude<Cuda>::norms(testing::gpu().stream(), RowNorms<T>{.w = test::upload_weight(w),
                                                                .a = test::upload_weight(a),
                                                                .b = test::upload_weight(b),
                                                                .scale = scale,
                                                                .norms = to.data});
    testing::gpu().device().wait();
  });
  CHECK(test::count_far(norms, 2.0 * (s.inputs + s.rank), [&](int, int n) {
          double squares = 0, magnitude = 0;
          for (int k = 0; k < s.inputs; ++k) {
            double v = to_f32(w(n, k)), size = std::fabs(v);
            for (int r = 0; r < s.rank; ++r) {
              const double term = static_cast<double>(scale) * to_f32(b(n, r)) * to_f32(a(r, k));
              v += term, size += std::fabs(term);
            }
            squares += v * v, magnitude += size * size;
          }
          return test::Expected{std::sqrt(squares), std::sqrt(magnitude)};
        }) == 0);
}

template <class T>
void check_forward(const MagnitudeShape& s, int gap, float beta) {
  CAPTURE(s.rows, s.outputs, gap, beta);
  RandomMatrix<T> z(s.rows, s.outputs, 1, gap), y(s.rows, s.outputs, 2, gap), bias(1, s.outputs, 3, 0);
  const auto device_z = upload(z), device_bias = upload(bias);
  const float *m = vector_of(s.outputs, m_of), *norms = vector_of(s.outputs, norm_of);
  auto got = test::run_twice<T>(y, [&](const Matrix<T>& to) {
    magnitude<Cuda>::forward(
        testing::gpu().stream(),
        MagnitudeFwd<T>{.z = device_z, .m = m, .norms = norms, .bias = device_bias.data, .y = to, .beta = beta});
    testing::gpu().device().wait();
  });
  CHECK(test::count_far(got, 6, [&](int i, int n) {
          const double c = static_cast<double>(m_of(n)) / norm_of(n), product = c * to_f32(z(i, n)),
                       rest = to_f32(bias(0, n)) + static_cast<double>(beta) * to_f32(y(i, n));
          return test::Expected{product + rest,
                                std::fabs(product) + std::fabs(to_f32(bias(0, n))) + std::fabs(beta * to_f32(y(i, n)))};
        }) == 0);
}

template <class T>
void check_backward(const MagnitudeShape& s, int gap) {
  CAPTURE(s.rows, s.outputs, gap);
  RandomMatrix<T> dy(s.rows, s.outputs, 1, gap), z(s.rows, s.outputs, 2, gap);
  const auto device_dy = upload(dy);
  const float *m = vector_of(s.outputs, m_of), *norms = vector_of(s.outputs, norm_of);
  RandomMatrix<float> start(1, s.outputs, 4, 0);
  const auto dm = upload(start);
  const auto dz = upload(z);  // z, and then its gradient
  magnitude<Cuda>::backward(testing::gpu().stream(),
                            MagnitudeBwd<T>{.dy = device_dy, .z = dz, .m = m, .norms = norms, .dz = dz, .dm = dm.data});
  testing::gpu().device().wait();
  auto got_dz = test::download(dz, z);
  CHECK(test::count_far(got_dz, 3, [&](int i, int n) {
          const double value = static_cast<double>(m_of(n)) / norm_of(n) * to_f32(dy(i, n));
          return test::Expected{value, std::fabs(value)};
        }) == 0);
  auto got_dm = test::download(dm, start);
  CHECK(test::count_far(got_dm, s.rows + 2.0, [&](int, int n) {
          double sum = 0, magnitude = std::fabs(start(0, n));
          for (int i = 0; i < s.rows; ++i) {
            const double term = static_cast<double>(to_f32(dy(i, n))) * to_f32(z(i, n)) / norm_of(n);
            sum += term, magnitude += std::fabs(term);
          }
          return test::Expected{start(0, n) + sum, magnitude};
        }) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("magnitude on CUDA: the norms of W + s B A, and both passes, are the formulas'", "", float, bf16,
                   f16) {
  for (const MagnitudeShape& shape : magnitude_shapes) {
    check_norms<TestType>(shape);
    for (const int gap : {8, 3}) {
      for (const float beta : {0.0f, 1.0f}) check_forward<TestType>(shape, gap, beta);
      check_backward<TestType>(shape, gap);
    }
  }
}
