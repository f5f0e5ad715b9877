#pragma once
#include "cuda_matrix.hpp"

/// Comparing what a kernel computed element by element with formulas in double.
namespace lamina::test {

/// What an element should be, and the size of the terms that it is made from.
struct Expected {
  double value, magnitude;
};

/// Elements further from expected(i, j) than one rounding to T and `steps` fp32 roundings of their terms allow. Tells
/// the first. Counts a gap between rows that was written as well.
template <class T, class F>
int count_far(RandomMatrix<T>& got, double steps, F expected) {
  const double least = std::is_same_v<T, f16> ? 0x1p-25 : 0x1p-133;  // half of the smallest step: subnormal numbers
  int far = 0;
  for (int i = 0; i < got.rows; ++i) {
    for (int j = 0; j < got.cols; ++j) {
      const Expected want = expected(i, j);
      const double value = to_f32(got(i, j));
      const double bound = double{rounding<T>} * std::fabs(want.value) + 2 * steps * 0x1p-24 * want.magnitude + least;
      if (std::fabs(value - want.value) <= bound) continue;
      if (far++ == 0)
        UNSCOPED_INFO("(" << i << ", " << j << "): got " << value << ", want " << want.value << " within " << bound);
    }
    for (std::ptrdiff_t j = got.cols; j < got.stride && i + 1 < got.rows; ++j)
      if (!std::isnan(to_f32(got.data[i * got.stride + j])) && far++ == 0)
        UNSCOPED_INFO("row " << i << ": gap written");
  }
  return far;
}

/// count_far that allows the rounding to T alone: value is the result in fp32 before it.
template <class T, class F>
int count_unequal(RandomMatrix<T>& got, F value) {
  int unequal = 0;
  for (int i = 0; i < got.rows; ++i) {
    for (int j = 0; j < got.cols; ++j) {
      const T want = round_to<T>(value(i, j));
      if (std::memcmp(&want, &got(i, j), sizeof(T)) == 0) continue;
      if (unequal++ == 0)
        UNSCOPED_INFO("(" << i << ", " << j << "): got " << to_f32(got(i, j)) << ", want " << to_f32(want));
    }
    for (std::ptrdiff_t j = got.cols; j < got.stride && i + 1 < got.rows; ++j)
      if (!std::isnan(to_f32(got.data[i * got.stride + j])) && unequal++ == 0)
        UNSCOPED_INFO("row " << i << ": gap written");
  }
  return unequal;
}

/// A matrix of NaN: what a kernel leaves unwritten shows.
template <class T>
RandomMatrix<T> unwritten(int rows, int cols, int gap) {
  RandomMatrix<T> m(rows, cols, 0, gap);
  std::fill(m.data.begin(), m.data.end(), round_to<T>(NAN));
  return m;
}

/// Runs run(to) twice on copies of `to`, checks that both gave the same bits, and returns the result.
template <class T, class F>
RandomMatrix<T> run_twice(const RandomMatrix<T>& to, F run) {
  const Matrix<T> first = upload(to), second = upload(to);
  run(first), run(second);
  RandomMatrix<T> a = download(first, to);
  CHECK(a.same_bits(download(second, to)));
  return a;
}

}  // namespace lamina::test
