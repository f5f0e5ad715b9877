#pragma once
#include <lamina/kernel/matmul/matmul.hpp>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

/// Test data with rows further apart than they are long; the gaps hold NaN, so that reading one shows.
namespace lamina::test {

template <class T = float>
struct RandomMatrix {
  int rows, cols;
  std::ptrdiff_t stride;
  std::vector<T> data;

  /// Uniform in [-1, 1); gap is the distance between the end of a row and the start of the next.
  RandomMatrix(int r, int c, unsigned seed, int gap = 3)
      : rows(r), cols(c), stride(c + gap), data(static_cast<std::size_t>(r) * (c + gap), round_to<T>(NAN)) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (int i = 0; i < r; ++i) {
      for (int j = 0; j < c; ++j) (*this)(i, j) = round_to<T>(uniform(random));
    }
  }
  T& operator()(int i, int j) { return data[i * stride + j]; }
  Matrix<T> view() { return {data.data(), rows, cols, stride}; }
  operator Matrix<T>() { return view(); }
  operator Matrix<const T>() { return view(); }
  Weight weight() const { return {data.data(), dtype_of<T>, rows, cols, stride}; }
  RandomMatrix magnitude() const {
    RandomMatrix a = *this;
    for (T& x : a.data) x = round_to<T>(std::fabs(to_f32(x)));
    return a;
  }
  bool same_bits(const RandomMatrix& b) const {
    return std::memcmp(data.data(), b.data.data(), data.size() * sizeof(T)) == 0;
  }
};

/// Two fp32 sums of `length` terms, added in any two orders, differ by at most this share of the sum of magnitudes:
/// each is within length * 2^-24 of the exact one (Higham 2002, eq. 3.5), and a few roundings surround it.
inline float sum_tolerance(int length) { return 2 * static_cast<float>(length + 4) * 0x1p-24f; }

/// sum_ij a_ij b_ij in double.
inline double dot(RandomMatrix<float>& a, RandomMatrix<float>& b) {
  double sum = 0;
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < a.cols; ++j) sum += double{a(i, j)} * b(i, j);
  }
  return sum;
}

/// a + step * b.
inline RandomMatrix<float> moved(RandomMatrix<float> a, float step, RandomMatrix<float>& b) {
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < a.cols; ++j) a(i, j) += step * b(i, j);
  }
  return a;
}

}  // namespace lamina::test
